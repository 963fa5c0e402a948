/// A strict JSON parser for hostile headers: no duplicate keys, no trailing bytes, bounded depth, integers only.
///
/// Foundation's parser silently keeps one of several equal keys, so a file could show different tensors to different
/// programs.
struct StrictJSON {
  /// A value; objects keep the order of their keys.
  indirect enum Value {
    case object([(key: String, value: Value)])
    case array([Value])
    case string(String)
    case integer(Int)
    case other
  }

  /// The reason for which a text is not accepted.
  struct Defect: Error, CustomStringConvertible {
    let description: String
  }

  private let bytes: [UInt8]
  private var position = 0

  /// Parses a whole text.
  ///
  /// - Throws: ``Defect`` if the text is not accepted.
  static func parse(_ bytes: [UInt8]) throws -> Value {
    var parser = StrictJSON(bytes: bytes)
    let value = try parser.value(depth: 0)
    parser.skipBlanks()
    guard parser.position == bytes.count else { throw Defect(description: "bytes follow the JSON text") }
    return value
  }

  private init(bytes: [UInt8]) { self.bytes = bytes }

  private mutating func value(depth: Int) throws -> Value {
    guard depth < 8 else { throw Defect(description: "the JSON text is nested too deeply") }
    skipBlanks()
    switch try next() {
    case UInt8(ascii: "{"): return .object(try object(depth: depth))
    case UInt8(ascii: "["): return .array(try array(depth: depth))
    case UInt8(ascii: "\""): return .string(try string())
    case let byte where byte == UInt8(ascii: "-") || isDigit(byte): return try number(from: byte)
    case let byte: return try literal(from: byte)
    }
  }

  private mutating func object(depth: Int) throws -> [(key: String, value: Value)] {
    var entries: [(key: String, value: Value)] = []
    var keys = Set<String>()
    skipBlanks()
    if peek() == UInt8(ascii: "}") {
      position += 1
      return []
    }
    while true {
      skipBlanks()
      try expect(UInt8(ascii: "\""))
      let key = try string()
      guard keys.insert(key).inserted else { throw Defect(description: "the key \"\(key)\" occurs twice") }
      skipBlanks()
      try expect(UInt8(ascii: ":"))
      entries.append((key, try value(depth: depth + 1)))
      skipBlanks()
      switch try next() {
      case UInt8(ascii: ","): continue
      case UInt8(ascii: "}"): return entries
      default: throw unexpected()
      }
    }
  }

  private mutating func array(depth: Int) throws -> [Value] {
    var values: [Value] = []
    skipBlanks()
    if peek() == UInt8(ascii: "]") {
      position += 1
      return []
    }
    while true {
      values.append(try value(depth: depth + 1))
      skipBlanks()
      switch try next() {
      case UInt8(ascii: ","): continue
      case UInt8(ascii: "]"): return values
      default: throw unexpected()
      }
    }
  }

  /// Parses a string after its opening quote.
  private mutating func string() throws -> String {
    var content: [UInt8] = []
    while true {
      let byte = try next()
      switch byte {
      case UInt8(ascii: "\""):
        guard let text = String(validating: content, as: UTF8.self) else {
          throw Defect(description: "a string is not UTF-8")
        }
        return text
      case UInt8(ascii: "\\"): content += try escape()
      case 0..<0x20: throw unexpected()
      default: content.append(byte)
      }
    }
  }

  private mutating func escape() throws -> [UInt8] {
    let byte = try next()
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): return [byte]
    case UInt8(ascii: "n"): return [10]
    case UInt8(ascii: "t"): return [9]
    case UInt8(ascii: "r"): return [13]
    case UInt8(ascii: "u"):
      var code: UInt32 = 0
      for _ in 0..<4 {
        guard let digit = Character(UnicodeScalar(try next())).hexDigitValue else { throw unexpected() }
        code = code << 4 | UInt32(digit)
      }
      guard let scalar = UnicodeScalar(code) else {
        throw Defect(description: "a string has half a surrogate pair")
      }
      return Array(String(Character(scalar)).utf8)
    default: throw unexpected()
    }
  }

  private mutating func number(from first: UInt8) throws -> Value {
    var text = String(UnicodeScalar(first))
    while let byte = peek(), isDigit(byte) || "+-.eE".utf8.contains(byte) {
      text.unicodeScalars.append(UnicodeScalar(byte))
      position += 1
    }
    guard let integer = Int(text) else {
      throw Defect(description: "\(text.prefix(24)) is not an integer of 64 bits")
    }
    return .integer(integer)
  }

  private mutating func literal(from first: UInt8) throws -> Value {
    var text = String(UnicodeScalar(first))
    while let byte = peek(), byte >= UInt8(ascii: "a"), byte <= UInt8(ascii: "z"), text.utf8.count < 6 {
      text.unicodeScalars.append(UnicodeScalar(byte))
      position += 1
    }
    guard ["true", "false", "null"].contains(text) else { throw unexpected() }
    return .other
  }

  private mutating func next() throws -> UInt8 {
    guard position < bytes.count else { throw Defect(description: "the JSON text ends too early") }
    position += 1
    return bytes[position - 1]
  }

  private mutating func expect(_ byte: UInt8) throws {
    if try next() != byte { throw unexpected() }
  }

  private mutating func skipBlanks() {
    while let byte = peek(), byte == 32 || (9...10).contains(byte) || byte == 13 { position += 1 }
  }

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }
  private func isDigit(_ byte: UInt8) -> Bool { (48...57).contains(byte) }
  private func unexpected() -> Defect { Defect(description: "byte \(position) is not JSON") }
}
