#include "checkpoint/pickle.h"

#include <cstring>
#include <unordered_map>

#include "base/error.h"

namespace gondola {
namespace {

using Kind = PickleValue::Kind;

/// The opcodes, documented in Python's pickletools.
enum Opcode : unsigned char {
  MARK = '(',
  STOP = '.',
  POP = '0',
  POP_MARK = '1',
  DUP = '2',
  BININT = 'J',
  BININT1 = 'K',
  BININT2 = 'M',
  NONE = 'N',
  BINPERSID = 'Q',
  REDUCE = 'R',
  BINSTRING = 'T',
  SHORT_BINSTRING = 'U',
  BINUNICODE = 'X',
  APPEND = 'a',
  BUILD = 'b',
  GLOBAL = 'c',
  DICT = 'd',
  EMPTY_DICT = '}',
  APPENDS = 'e',
  BINGET = 'h',
  LONG_BINGET = 'j',
  LIST = 'l',
  EMPTY_LIST = ']',
  BINPUT = 'q',
  LONG_BINPUT = 'r',
  SETITEM = 's',
  TUPLE = 't',
  EMPTY_TUPLE = ')',
  SETITEMS = 'u',
  BINFLOAT = 'G',
  BINBYTES = 'B',
  SHORT_BINBYTES = 'C',
  PROTO = 0x80,
  NEWOBJ = 0x81,
  TUPLE1 = 0x85,
  TUPLE2 = 0x86,
  TUPLE3 = 0x87,
  NEWTRUE = 0x88,
  NEWFALSE = 0x89,
  LONG1 = 0x8a,
  LONG4 = 0x8b,
  SHORT_BINUNICODE = 0x8c,
  BINUNICODE8 = 0x8d,
  BINBYTES8 = 0x8e,
  EMPTY_SET = 0x8f,
  ADDITEMS = 0x90,
  FROZENSET = 0x91,
  NEWOBJ_EX = 0x92,
  STACK_GLOBAL = 0x93,
  MEMOIZE = 0x94,
  FRAME = 0x95,
  BYTEARRAY8 = 0x96,
};

/// Budget for everything but texts. A tensor in a state dict takes about thirty opcodes.
constexpr std::size_t max_memory = 256 << 20;
/// Covers what an opcode adds at most: one value, or one entry of a value, the stack, the marks or the memo. Opcodes
/// that add more spend it separately.
constexpr std::size_t memory_of_opcode = 160;

}  // namespace

/// The stack machine of a pickle. Texts are parts of the pickle; everything else that grows is charged to one budget.
class Unpickler {
 public:
  Unpickler(std::span<const std::byte> bytes, const std::string& origin, std::deque<PickleValue>& values)
      : bytes_(bytes), origin_(origin), values_(values) {}

  const PickleValue* run() {
    for (;;) {
      spend(memory_of_opcode);
      const auto opcode = static_cast<Opcode>(take(1)[0]);
      if (opcode == STOP) return pop();
      step(opcode);
    }
  }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    fail("{}: the pickle is damaged at byte {}: {}", origin_, at_, what);
  }

  void spend(std::size_t memory) {
    if (memory > budget_) damaged("it unpacks to more data than any model has");
    budget_ -= memory;
  }

  std::span<const std::byte> take(std::uint64_t count) {
    if (count > bytes_.size() - at_) damaged("it ends early");
    const auto part = bytes_.subspan(at_, count);
    at_ += count;
    return part;
  }

  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }

  std::string text(std::uint64_t count) {
    const auto part = take(count);
    return {reinterpret_cast<const char*>(part.data()), part.size()};
  }

  std::string line() {
    std::string result;
    for (char c; (c = static_cast<char>(take(1)[0])) != '\n';) result += c;
    return result;
  }

  PickleValue* make(Kind kind) {
    PickleValue& value = values_.emplace_back();
    value.kind = kind;
    stack_.push_back(&value);
    return &value;
  }

  PickleValue* pop() {
    if (stack_.empty() || (!marks_.empty() && stack_.size() == marks_.back())) damaged("the stack is empty");
    PickleValue* value = stack_.back();
    stack_.pop_back();
    return value;
  }

  PickleValue* top() {
    PickleValue* value = pop();
    stack_.push_back(value);
    return value;
  }

  /// Pops everything above the last mark, and the mark itself.
  std::vector<const PickleValue*> pop_marked() {
    if (marks_.empty()) damaged("no mark");
    const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<const PickleValue*> items(from, stack_.end());
    stack_.erase(from, stack_.end());
    marks_.pop_back();
    return items;
  }

  void make_tuple(std::size_t count) {
    std::vector<const PickleValue*> items(count);
    for (std::size_t i = count; i-- > 0;) items[i] = pop();
    make(Kind::tuple)->items = std::move(items);
  }

  void make_text(Kind kind, std::uint64_t count) {
    std::string characters = text(count);
    make(kind)->text = std::move(characters);
  }

  void make_integer(std::int64_t integer) { make(Kind::integer)->integer = integer; }

  /// A little-endian number of any length in two's complement.
  void make_long(std::uint64_t count) {
    const auto digits = take(count);
    std::int64_t value = 0;
    if (count > 0 && count <= 8) {
      std::memcpy(&value, digits.data(), count);
      const int unused = 64 - 8 * static_cast<int>(count);
      value = static_cast<std::int64_t>(static_cast<std::uint64_t>(value) << unused) >> unused;
    }
    make_integer(value);
  }

  void set_entries(const std::vector<const PickleValue*>& items) {
    if (items.size() % 2 != 0) damaged("a key without a value");
    PickleValue* target = top();
    for (std::size_t i = 0; i < items.size(); i += 2) target->entries.emplace_back(items[i], items[i + 1]);
  }

  void append(const std::vector<const PickleValue*>& items) {
    PickleValue* target = top();
    if (target->kind != Kind::list && target->kind != Kind::set) return;  // an object of some class: not data we read
    target->items.insert(target->items.end(), items.begin(), items.end());
  }

  void make_call(std::size_t arguments) {
    std::vector<const PickleValue*> popped(arguments);
    for (std::size_t i = arguments; i-- > 0;) popped[i] = pop();
    const PickleValue* callee = pop();
    PickleValue* call = make(Kind::call);
    call->items.push_back(callee);
    // REDUCE and NEWOBJ pass the arguments in a tuple; NEWOBJ_EX also passes keyword arguments, which are ignored.
    if (popped[0]->kind != Kind::tuple) return;
    spend(popped[0]->items.size() * sizeof popped[0]);  // many calls may share one tuple
    call->items.insert(call->items.end(), popped[0]->items.begin(), popped[0]->items.end());
  }

  void make_global(const std::string& module, const std::string& name) {
    spend(module.size() + name.size());  // many globals may share one text
    make(Kind::global)->text = module + " " + name;
  }

  void get(std::uint32_t index) {
    const auto found = memo_.find(index);
    if (found == memo_.end()) damaged("an unknown memo");
    stack_.push_back(found->second);
  }

  void step(Opcode opcode);

  std::span<const std::byte> bytes_;
  const std::string& origin_;
  std::deque<PickleValue>& values_;
  std::size_t at_ = 0, budget_ = max_memory;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;
  std::unordered_map<std::uint32_t, PickleValue*> memo_;
};

void Unpickler::step(Opcode opcode) {
  switch (opcode) {
    case PROTO:
      take(1);
      break;
    case FRAME:
      take(8);
      break;
    case MARK:
      marks_.push_back(stack_.size());
      break;
    case POP:
      pop();
      break;
    case POP_MARK:
      pop_marked();
      break;
    case DUP:
      stack_.push_back(top());
      break;
    case NONE:
      make(Kind::none);
      break;
    case NEWTRUE:
    case NEWFALSE:
      make(Kind::boolean)->integer = opcode == NEWTRUE;
      break;
    case BININT:
      make_integer(number<std::int32_t>());
      break;
    case BININT1:
      make_integer(number<std::uint8_t>());
      break;
    case BININT2:
      make_integer(number<std::uint16_t>());
      break;
    case LONG1:
      make_long(number<std::uint8_t>());
      break;
    case LONG4:
      make_long(number<std::uint32_t>());
      break;
    case BINFLOAT:  // skipped: no tensor's description has one
      take(sizeof(double));
      make(Kind::real);
      break;
    case BINUNICODE:
      make_text(Kind::text, number<std::uint32_t>());
      break;
    case SHORT_BINUNICODE:
      make_text(Kind::text, number<std::uint8_t>());
      break;
    case BINUNICODE8:
      make_text(Kind::text, number<std::uint64_t>());
      break;
    case BINSTRING:
    case BINBYTES:
      make_text(Kind::bytes, number<std::uint32_t>());
      break;
    case SHORT_BINSTRING:
    case SHORT_BINBYTES:
      make_text(Kind::bytes, number<std::uint8_t>());
      break;
    case BINBYTES8:
    case BYTEARRAY8:
      make_text(Kind::bytes, number<std::uint64_t>());
      break;
    case EMPTY_TUPLE:
      make_tuple(0);
      break;
    case TUPLE1:
      make_tuple(1);
      break;
    case TUPLE2:
      make_tuple(2);
      break;
    case TUPLE3:
      make_tuple(3);
      break;
    case TUPLE: {
      auto items = pop_marked();
      make(Kind::tuple)->items = std::move(items);
      break;
    }
    case EMPTY_LIST:
      make(Kind::list);
      break;
    case LIST: {
      auto items = pop_marked();
      make(Kind::list)->items = std::move(items);
      break;
    }
    case APPEND: {
      const PickleValue* item = pop();
      append({item});
      break;
    }
    case APPENDS:
    case ADDITEMS:
      append(pop_marked());
      break;
    case EMPTY_SET:
      make(Kind::set);
      break;
    case FROZENSET: {
      auto items = pop_marked();
      make(Kind::set)->items = std::move(items);
      break;
    }
    case EMPTY_DICT:
      make(Kind::dict);
      break;
    case DICT: {
      const auto items = pop_marked();
      make(Kind::dict);
      set_entries(items);
      break;
    }
    case SETITEM: {
      const PickleValue* value = pop();
      const PickleValue* key = pop();
      set_entries({key, value});
      break;
    }
    case SETITEMS:
      set_entries(pop_marked());
      break;
    case GLOBAL: {
      const std::string module = line();
      make_global(module, line());
      break;
    }
    case STACK_GLOBAL: {
      const PickleValue* name = pop();
      const PickleValue* module = pop();
      if (module->kind != Kind::text || name->kind != Kind::text) damaged("a global without a name");
      make_global(module->text, name->text);
      break;
    }
    case REDUCE:
    case NEWOBJ:
      make_call(1);
      break;
    case NEWOBJ_EX:
      make_call(2);
      break;
    case BUILD: {
      const PickleValue* state = pop();
      top()->state = state;
      break;
    }
    case BINPERSID: {
      const PickleValue* id = pop();
      make(Kind::persistent)->items.push_back(id);
      break;
    }
    case BINPUT:
      memo_[number<std::uint8_t>()] = top();
      break;
    case LONG_BINPUT:
      memo_[number<std::uint32_t>()] = top();
      break;
    case MEMOIZE:
      memo_[static_cast<std::uint32_t>(memo_.size())] = top();
      break;
    case BINGET:
      get(number<std::uint8_t>());
      break;
    case LONG_BINGET:
      get(number<std::uint32_t>());
      break;
    default:
      damaged(fmt::format("the opcode {:#04x} is not a data opcode", static_cast<unsigned>(opcode)));
  }
}

Pickle::Pickle(std::span<const std::byte> bytes, const std::string& origin)
    : root_(Unpickler(bytes, origin, values_).run()) {}

}  // namespace gondola
