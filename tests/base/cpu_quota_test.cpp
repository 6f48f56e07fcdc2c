// Trees of control groups as Linux has them (its Documentation/admin-guide/cgroup-v2.rst and scheduler/sched-bwc.rst).
#include "base/cpu_quota.h"

#include <gtest/gtest.h>

#include "tests/support/files.h"

namespace gondola {
namespace {

class CpuQuota : public testing::Test {
 protected:
  std::optional<double> of(const std::string& own) {
    test::write(folder_.path() / "own", own);
    return cpu_quota(folder_.path() / "groups", folder_.path() / "own");
  }
  void group(const std::string& file, const std::string& text) {
    test::write(folder_.path() / "groups" / file, text + "\n");
  }

  test::TemporaryFolder folder_;
};

TEST_F(CpuQuota, IsTheLeastOfTheGroupsOfVersion2) {
  group("a/b/cpu.max", "max 100000");
  EXPECT_EQ(of("0::/a/b\n"), std::nullopt);
  group("a/cpu.max", "250000 100000");
  EXPECT_EQ(of("0::/a/b\n"), 2.5);
  group("a/b/cpu.max", "50000 100000");
  EXPECT_EQ(of("0::/a/b\n"), 0.5);
  EXPECT_EQ(of("0::/a\n"), 2.5);
  EXPECT_EQ(of("0::/elsewhere\n"), std::nullopt);
  group("cpu.max", "400000 100000");  // a container's own group is its root
  EXPECT_EQ(of("0::/\n"), 4);
  EXPECT_EQ(of("0::/of/the/machine/outside\n"), 4);
}

TEST_F(CpuQuota, IsThatOfTheCpuControllerOfVersion1) {
  group("memory/x/cpu.max", "1 1");
  group("cpu,cpuacct/x/cpu.cfs_period_us", "100000");
  group("cpu,cpuacct/x/cpu.cfs_quota_us", "-1");
  std::filesystem::create_directory_symlink("cpu,cpuacct", folder_.path() / "groups" / "cpu");
  for (const char* controllers : {"cpu,cpuacct", "cpuacct,cpu"}) {
    const std::string own = std::string("9:memory:/x\n4:") + controllers + ":/x\n3:cpuset:/x\n0::/\n";
    group("cpu/x/cpu.cfs_quota_us", "-1");
    EXPECT_EQ(of(own), std::nullopt);
    group("cpu/x/cpu.cfs_quota_us", "300000");
    EXPECT_EQ(of(own), 3);
  }
}

TEST_F(CpuQuota, IsNoneWhereNothingIsKnown) {
  EXPECT_EQ(of(""), std::nullopt);
  EXPECT_EQ(of("nonsense\n0::\n"), std::nullopt);
  EXPECT_EQ(cpu_quota("/nowhere", "/nowhere"), std::nullopt);
}

}  // namespace
}  // namespace gondola
