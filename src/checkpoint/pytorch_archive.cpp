#include "checkpoint/pytorch_archive.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "checkpoint/pickle.h"
#include "checkpoint/zip_archive.h"

namespace gondola {
namespace {

using Kind = PickleValue::Kind;

constexpr std::array<std::pair<std::string_view, DType>, 20> storage_types = {{
    {"torch FloatStorage", DType::float32}, {"torch DoubleStorage", DType::float64},
    {"torch HalfStorage", DType::float16},  {"torch BFloat16Storage", DType::bfloat16},
    {"torch LongStorage", DType::int64},    {"torch IntStorage", DType::int32},
    {"torch ShortStorage", DType::int16},   {"torch CharStorage", DType::int8},
    {"torch ByteStorage", DType::uint8},    {"torch BoolStorage", DType::boolean},
    {"torch float32", DType::float32},      {"torch float64", DType::float64},
    {"torch float16", DType::float16},      {"torch bfloat16", DType::bfloat16},
    {"torch int64", DType::int64},          {"torch int32", DType::int32},
    {"torch int16", DType::int16},          {"torch int8", DType::int8},
    {"torch uint8", DType::uint8},          {"torch bool", DType::boolean},
}};

/// The value of a text key in a dict; null when it is not there.
const PickleValue* find(const PickleValue& dict, std::string_view key) {
  for (const auto& [name, value] : dict.entries)
    if (name->kind == Kind::text && name->text == key) return value;
  return nullptr;
}

class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), zip_(path), prefix_(find_prefix()) {}

  PytorchArchive read() {
    if (zip_.contains(prefix_ + "byteorder")) {
      const SharedBytes order = zip_.read(prefix_ + "byteorder");
      if (std::string_view(reinterpret_cast<const char*>(order.bytes.data()), order.bytes.size()) != "little")
        fail("{}: its numbers are big-endian", path_.string());
    }
    PytorchArchive archive;
    archive.torch_script = zip_.contains(prefix_ + "constants.pkl");
    const SharedBytes bytes = zip_.read(prefix_ + "data.pkl", /*check_stored=*/true);
    const Pickle pickle(bytes.bytes, path_.string());
    if (archive.torch_script) {
      read_module(pickle.root(), "", 0, archive.tensors);
    } else {
      read_state_dict(find_state_dict(pickle.root()), archive.tensors);
    }
    if (archive.tensors.empty()) fail("{}: holds no tensors{}", path_.string(), keys_of(pickle.root()));
    drop_module_prefix(archive.tensors);
    return archive;
  }

 private:
  /// The folder inside the archive, whatever its name ("archive/", "ViT-B-32/").
  std::string find_prefix() const {
    for (const std::string& name : zip_.names())
      if (name.ends_with("/data.pkl") && std::count(name.begin(), name.end(), '/') == 1)
        return name.substr(0, name.size() - std::strlen("data.pkl"));
    fail("{}: a ZIP file, but not one that torch.save wrote", path_.string());
  }

  static bool is_tensor(const PickleValue& value) { return value.callee().starts_with("torch._utils _rebuild_"); }

  /// For a message: the first keys of a dict. The weights may lie under one of them.
  static std::string keys_of(const PickleValue& dict) {
    constexpr std::size_t most = 8, longest = 40;
    std::vector<std::string> keys;
    for (const auto& [key, value] : dict.entries)
      if (key->kind == Kind::text && keys.size() < most) keys.push_back(key->text.substr(0, longest));
    return keys.empty() ? "" : fmt::format("; its keys are {}", fmt::join(keys, ", "));
  }

  const PickleValue& find_state_dict(const PickleValue& root) const {
    for (const char* key : {"state_dict", "model_state_dict", "model"})
      if (const PickleValue* inner = find(root, key); inner != nullptr && !inner->entries.empty()) return *inner;
    if (root.entries.empty()) fail("{}: holds no state dict; save model.state_dict(), not the model", path_.string());
    return root;
  }

  void read_state_dict(const PickleValue& dict, TensorMap& tensors) {
    for (const auto& [key, value] : dict.entries) {
      if (key->kind != Kind::text || !is_tensor(*value)) continue;  // epochs, options and the like
      check_length(key->text);
      tensors[key->text] = read_tensor(key->text, *value);
    }
  }

  /// Guards against one long string that is the name of a million tensors.
  void check_length(const std::string& name) const {
    constexpr std::size_t longest = 1024;
    if (name.size() > longest) fail("{}: a tensor's name has more than {} bytes", path_.string(), longest);
  }

  /// Reads the parameters and buffers of a TorchScript module and its submodules.
  void read_module(const PickleValue& module, const std::string& prefix, int depth, TensorMap& tensors) {
    constexpr int max_depth = 64;
    if (depth > max_depth) fail("{}: its modules are nested deeper than {} levels", path_.string(), max_depth);
    constexpr std::size_t max_attributes = 1 << 17;  // shared submodules can unfold into a huge tree
    if (module.state == nullptr) return;
    for (const auto& [key, value] : module.state->entries) {
      if (++attributes_ > max_attributes) fail("{}: its modules have too many attributes", path_.string());
      if (key->kind != Kind::text) continue;
      const std::string name = prefix + key->text;
      check_length(name);
      if (is_tensor(*value)) {
        tensors[name] = read_tensor(name, *value);
      } else if (value->kind == Kind::call) {
        read_module(*value, name + ".", depth + 1, tensors);
      }
    }
  }

  [[noreturn]] void refuse(const std::string& name, const std::string& what) const {
    fail("{}: the tensor {}: {}", path_.string(), name, what);
  }

  Tensor read_tensor(const std::string& name, const PickleValue& call) {
    const std::vector<const PickleValue*>& items = call.items;  // the function, then its arguments
    const std::string function(call.callee());
    if (function == "torch._utils _rebuild_parameter" || function == "torch._utils _rebuild_parameter_with_state") {
      // PyTorch never writes a parameter of a parameter, and such a chain could be endless.
      if (items.size() < 2 || !is_tensor(*items[1]) || items[1]->callee().find("parameter") != std::string::npos)
        refuse(name, "a parameter without a tensor");
      return read_tensor(name, *items[1]);
    }
    const bool has_type = function == "torch._utils _rebuild_tensor_v3";
    if (!has_type && function != "torch._utils _rebuild_tensor_v2" && function != "torch._utils _rebuild_tensor")
      refuse(name, "its kind is not supported (" + function + ")");
    if (items.size() < (has_type ? 8 : 5)) refuse(name, "its description is incomplete");
    const Storage storage = read_storage(name, *items[1], has_type ? items[7] : nullptr);
    const std::int64_t offset = items[2]->integer;
    return view(name, storage, offset, read_sizes(name, *items[3]), read_sizes(name, *items[4]));
  }

  struct Storage {
    DType type = DType::float32;
    SharedBytes data;
  };

  /// Reads the storage that a persistent id names: ("storage", type, key, device, elements).
  Storage read_storage(const std::string& name, const PickleValue& value, const PickleValue* type) {
    const PickleValue* id = value.kind == Kind::persistent ? value.items[0] : nullptr;
    if (id == nullptr || id->items.size() < 3 || id->items[2]->kind != Kind::text) refuse(name, "it has no storage");
    if (type == nullptr) type = id->items[1];
    const auto found = std::find_if(storage_types.begin(), storage_types.end(),
                                    [&](const auto& entry) { return entry.first == type->text; });
    if (found == storage_types.end()) refuse(name, "its type is not supported (" + type->text + ")");
    return {found->second, zip_.read(prefix_ + "data/" + id->items[2]->text)};
  }

  std::vector<std::int64_t> read_sizes(const std::string& name, const PickleValue& value) const {
    constexpr std::size_t max_dimensions = 8;
    // torch.Size is a call with the tuple as its argument.
    const PickleValue& tuple = value.callee() == "torch Size" && value.items.size() == 2 ? *value.items[1] : value;
    if (tuple.kind != Kind::tuple || tuple.items.size() > max_dimensions) refuse(name, "its shape is not a tuple");
    std::vector<std::int64_t> sizes;
    for (const PickleValue* item : tuple.items) {
      constexpr std::int64_t largest = std::int64_t{1} << 40;
      if (item->kind != Kind::integer || item->integer < 0 || item->integer > largest)
        refuse(name, "its shape or strides are out of range");
      sizes.push_back(item->integer);
    }
    return sizes;
  }

  /// The elements that shape and strides (in elements) select from the storage, in C order.
  Tensor view(const std::string& name, const Storage& storage, std::int64_t offset, std::vector<std::int64_t> shape,
              const std::vector<std::int64_t>& strides) {
    const std::size_t size = size_of(storage.type);
    const auto stored = static_cast<std::int64_t>(storage.data.bytes.size() / size);
    if (strides.size() != shape.size()) refuse(name, "shape and strides differ in length");
    const bool empty = std::ranges::find(shape, 0) != shape.end();
    std::int64_t elements = 1, last = offset, contiguous = 1;
    bool is_contiguous = true;
    for (std::size_t i = shape.size(); i-- > 0;) {
      if (shape[i] == 0) continue;
      if (__builtin_mul_overflow(elements, shape[i], &elements)) refuse(name, "it is too large");
      if (empty) continue;
      std::int64_t reach = 0;
      if (__builtin_mul_overflow(shape[i] - 1, strides[i], &reach) || __builtin_add_overflow(last, reach, &last))
        refuse(name, "it reaches beyond its storage");
      is_contiguous = is_contiguous && (shape[i] == 1 || strides[i] == contiguous);
      contiguous = elements;
    }
    Tensor tensor{storage.type, std::move(shape), {}, storage.data.owner};
    if (empty) return tensor;
    if (offset < 0 || elements > stored || last >= stored) refuse(name, "it reaches beyond its storage");
    // Many tensors may share one storage, but together they are hardly larger than the file. Joining or converting
    // copies each of them, hence the limit.
    viewed_ += static_cast<std::size_t>(elements) * size;
    if (viewed_ > 2 * zip_.size()) refuse(name, "it and others share the same storage too often");
    if (is_contiguous) {
      tensor.bytes = storage.data.bytes.subspan(static_cast<std::size_t>(offset) * size,
                                                static_cast<std::size_t>(elements) * size);
      return tensor;
    }
    std::vector<std::byte> gathered(static_cast<std::size_t>(elements) * size);
    std::vector<std::int64_t> index(tensor.shape.size());
    std::int64_t source = offset;
    for (std::size_t element = 0; element < static_cast<std::size_t>(elements); ++element) {
      std::memcpy(gathered.data() + element * size, storage.data.bytes.data() + static_cast<std::size_t>(source) * size,
                  size);
      for (std::size_t i = index.size(); i-- > 0;) {
        source += strides[i];
        if (++index[i] < tensor.shape[i]) break;
        source -= strides[i] * index[i];
        index[i] = 0;
      }
    }
    return make_tensor(tensor.type, std::move(tensor.shape), std::move(gathered));
  }

  /// Drops the prefix that torch.nn.DataParallel adds.
  static void drop_module_prefix(TensorMap& tensors) {
    constexpr std::string_view prefix = "module.";
    if (!std::all_of(tensors.begin(), tensors.end(), [&](const auto& item) { return item.first.starts_with(prefix); }))
      return;
    TensorMap renamed;
    for (auto& [name, tensor] : tensors) renamed.emplace(name.substr(prefix.size()), std::move(tensor));
    tensors = std::move(renamed);
  }

  std::filesystem::path path_;
  ZipArchive zip_;
  std::string prefix_;
  std::size_t attributes_ = 0;  ///< attributes of modules read so far
  std::size_t viewed_ = 0;      ///< bytes of the tensors read so far
};

}  // namespace

PytorchArchive read_pytorch_archive(const std::filesystem::path& path) {
  if (const MappedFile file(path); !ZipArchive::is_zip(file.bytes()))
    fail(
        "{}: neither safetensors nor a PyTorch archive; a file from before PyTorch 1.6 has to be saved again by a "
        "newer one",
        path.string());
  return Reader(path).read();
}

}  // namespace gondola
