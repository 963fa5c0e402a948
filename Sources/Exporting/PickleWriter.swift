/// A writer of Python's pickle format, protocol 2: the opcodes that a dictionary of tensors needs.
///
/// Opcodes: https://github.com/python/cpython/blob/main/Lib/pickletools.py.
struct PickleWriter {
  private var bytes: [UInt8] = [0x80, 2]

  /// Pushes a mark, which ``tuple()`` and ``setItems()`` pop.
  mutating func mark() { bytes.append(UInt8(ascii: "(")) }

  /// Pushes a text.
  mutating func string(_ text: String) {
    bytes.append(UInt8(ascii: "X"))
    append(UInt32(text.utf8.count))
    bytes += text.utf8
  }

  /// Pushes a number of 32 bits.
  mutating func integer(_ value: Int) {
    bytes.append(UInt8(ascii: "J"))
    append(UInt32(bitPattern: Int32(value)))
  }

  /// Pushes a tuple of numbers.
  mutating func integers(_ values: [Int]) {
    mark()
    for value in values { integer(value) }
    tuple()
  }

  /// Pushes `False`.
  mutating func `false`() { bytes += [0x89] }

  /// Pushes a Python function or class.
  mutating func global(_ module: String, _ name: String) {
    bytes.append(UInt8(ascii: "c"))
    bytes += "\(module)\n\(name)\n".utf8
  }

  /// Pops the values after the last mark and pushes them as a tuple.
  mutating func tuple() { bytes.append(UInt8(ascii: "t")) }

  /// Pops a function and its tuple of arguments, and pushes the result.
  mutating func reduce() { bytes.append(UInt8(ascii: "R")) }

  /// Pops a tuple and pushes the object that it identifies outside of the pickle.
  mutating func persistentIdentifier() { bytes.append(UInt8(ascii: "Q")) }

  /// Pushes an empty `collections.OrderedDict`.
  mutating func emptyOrderedDictionary() {
    global("collections", "OrderedDict")
    bytes.append(UInt8(ascii: ")"))
    reduce()
  }

  /// Pops the keys and values after the last mark and adds them to the dictionary below it.
  mutating func setItems() { bytes.append(UInt8(ascii: "u")) }

  /// Ends the pickle and returns its bytes.
  func finish() -> [UInt8] { bytes + [UInt8(ascii: ".")] }

  private mutating func append(_ value: UInt32) {
    withUnsafeBytes(of: value.littleEndian) { bytes += $0 }
  }
}
