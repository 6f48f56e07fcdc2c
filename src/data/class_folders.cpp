#include <algorithm>
#include <optional>
#include <ranges>
#include <system_error>
#include <utility>

#include "base/ascii.h"
#include "base/error.h"
#include "base/file.h"
#include "base/find_files.h"
#include "base/streams.h"
#include "data/sources.h"
#include "data/string_table.h"
#include "metrics/metrics.h"

namespace gondola {
namespace {

namespace fs = std::filesystem;

struct ImageClass {
  std::string folder;
  std::vector<std::string> names;
};

/// What the folder itself contains.
std::vector<fs::path> list_entries(const fs::path& folder) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error))
    entries.push_back(entry->path());
  if (error) fail("{}: cannot be read: {}", folder.string(), error.message());
  return entries;
}

/// The folders in `root`, in name order.
std::vector<std::string> list_folders(const fs::path& root) {
  std::vector<std::string> folders;
  std::error_code unreachable;
  for (const fs::path& entry : list_entries(root))
    if (fs::is_directory(entry, unreachable) && !is_hidden(entry)) folders.push_back(entry.filename().string());
  std::sort(folders.begin(), folders.end());
  return folders;
}

/// Reads classes.tsv: one class per line, its folder and then its names. Its order gives the labels, so that a subset
/// of a data set (some folders missing) keeps the labels of the whole.
std::vector<ImageClass> read_class_table(const fs::path& table) {
  check_regular_file(table);
  std::vector<ImageClass> classes;
  for (const std::string& line : read_lines(table)) {
    if (line.empty()) continue;
    std::vector<std::string> fields;
    for (const auto field : std::views::split(line, '\t')) fields.emplace_back(field.begin(), field.end());
    if (fields.size() < 2 || fields[0].empty() || std::count(fields.begin(), fields.end(), "") != 0)
      fail("{}: line \"{}\": expected a folder and at least one name, separated by tabs", table.string(), line);
    classes.push_back({fields[0], {fields.begin() + 1, fields.end()}});
  }
  return classes;
}

std::vector<ImageClass> find_classes(const fs::path& root) {
  std::vector<ImageClass> classes;
  const fs::path table = root / "classes.tsv";
  const std::vector<std::string> folders = list_folders(root);
  if (!path_exists(table)) {
    for (const std::string& folder : folders) {
      std::string name = folder;
      std::replace(name.begin(), name.end(), '_', ' ');
      classes.push_back({folder, {name}});
    }
    return classes;
  }
  classes = read_class_table(table);
  std::vector<std::string> named;
  for (const ImageClass& one : classes) named.push_back(one.folder);
  std::sort(named.begin(), named.end());
  if (const auto twice = std::adjacent_find(named.begin(), named.end()); twice != named.end())
    fail("{}: the folder {} is listed twice", table.string(), *twice);
  for (const std::string& folder : folders)
    if (!std::binary_search(named.begin(), named.end(), folder))
      fail("{}: has no line for the folder {}", table.string(), folder);
  return classes;
}

/// All images below the class's folder, in name order (base/find_files.h).
std::vector<std::string> list_images(const fs::path& folder) {
  std::vector<std::string> paths;
  std::error_code unreachable;
  if (!fs::is_directory(folder, unreachable)) return paths;
  const auto add_image = [&](const fs::directory_entry& file) {
    if (!is_image_extension(file.path().extension().string())) return;
    std::error_code unknown;
    if (!file.is_regular_file(unknown)) fail("{}: is a broken link", file.path().string());
    paths.push_back(file.path().string());
  };
  find_files(folder, add_image, [](const fs::path& unreadable, std::error_code error) {
    fail("{}: cannot be read: {}", unreadable.string(), error.message());
  });
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// A file in `root` that is a data set itself.
std::optional<std::string> find_table(const fs::path& root) {
  for (const fs::path& entry : list_entries(root)) {
    const std::string extension = lower_ascii(entry.extension().string());
    if (entry.filename() != "classes.tsv" &&
        (extension == ".csv" || extension == ".tsv" || extension == ".parquet" || extension == ".tar"))
      return entry.string();
  }
  return std::nullopt;
}

/// Refuses an image with captions beside it: its folder is no class, but one shard of img2dataset's, or a split of a
/// set in the layout of Hugging Face's imagefolder.
void refuse_captions(const fs::path& image) {
  for (const fs::path& captions : {fs::path(image).replace_extension(".txt"), image.parent_path() / "metadata.csv",
                                   image.parent_path() / "metadata.jsonl"})
    if (path_exists(captions))
      fail(
          "{}: class folders have no captions; pack each folder of images with .txt files as a WebDataset (tar "
          "--sort=name -cf 00000.tar -C 00000 .), or list the images and captions in a CSV; if the folders are "
          "classes, a classes.tsv must say so",
          captions.string());
}

class ClassFolders : public Dataset {
 public:
  ClassFolders(const fs::path& root, const std::vector<std::string>& templates) {
    const bool declared = path_exists(root / "classes.tsv");
    for (const ImageClass& one : find_classes(root)) {
      const int label = static_cast<int>(class_names_.size());
      const std::vector<std::string> images = list_images(root / one.folder);
      if (!declared && !images.empty()) refuse_captions(images.front());
      for (const std::string& path : images) {
        paths_.add(path);
        labels_.push_back(label);
      }
      class_names_.push_back(one.names.front());
      std::vector<std::string> captions;
      for (const std::string& name : one.names)
        for (const std::string& text : templates) captions.push_back(fill_template(text, name));
      captions_.push_back(std::move(captions));
    }
    if (labels_.empty()) fail("{}: expected class folders with images (DIR/CLASS/…/image.jpg)", root.string());
    if (const auto table = find_table(root)) {  // whose images are often in a folder beside it
      const std::string& first = class_names_[static_cast<std::size_t>(labels_.front())];
      if (declared ? class_names_.size() == 1 : labels_.front() == labels_.back())
        fail("{}: would be read as images of one class, \"{}\"; if you mean {}, name that instead", root.string(),
             first, *table);
      if (!declared)
        print_error("{}: is read as class folders, \"{}\" being the first class; {} is not read", root.string(), first,
                    *table);
    }
    if (templates.empty()) fail("{}: class folders need at least one template", root.string());
  }

  std::size_t size() const override { return labels_.size(); }

  Sample get(std::size_t index) const override {
    const int label = labels_[index];
    std::string path(paths_[index]);
    std::string image = read_regular_file(path, max_image_bytes);
    return {std::move(path), std::move(image), captions_[static_cast<std::size_t>(label)], label};
  }

  void for_each_caption(const std::function<void(std::string_view)>& visit) const override {
    for (const Captions& captions : captions_)
      for (const std::string& caption : captions) visit(caption);
  }

  const std::vector<std::string>& class_names() const override { return class_names_; }

 private:
  StringTable paths_;
  std::vector<int> labels_;               // of each sample
  std::vector<std::string> class_names_;  // of each class, its first name
  std::vector<Captions> captions_;        // of each class
};

}  // namespace

std::unique_ptr<Dataset> open_class_folders(const fs::path& folder, const std::vector<std::string>& templates) {
  return std::make_unique<ClassFolders>(folder, templates);
}

}  // namespace gondola
