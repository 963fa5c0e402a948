import Foundation
import Tensors

/// A safetensors file opened for reading (github.com/huggingface/safetensors).
///
/// The format is a 64-bit header length, a JSON header, and the tensors' bytes without gaps. Offsets, lengths, shapes,
/// types and duplicates are all checked before any tensor is read.
public struct SafetensorsFile {
  /// One tensor of the file.
  public struct Entry: Hashable, Sendable {
    /// The tensor's name.
    public let name: String
    /// The element type as the format spells it, for example `F32`.
    public let type: String
    /// The dimensions in the file.
    public let shape: Shape
    /// The range of its bytes after the header.
    let offsets: Range<Int>
  }

  /// The file's path.
  public let path: String
  /// The tensors, in the order of their bytes.
  public let entries: [Entry]
  private let data: Data
  private let dataStart: Int

  /// The most bytes a header may have; the reference implementation's limit.
  private static let maximumHeaderByteCount = 100_000_000
  /// The bytes per element of each type that the format knows.
  private static let typeSizes = [
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E5M2": 1, "F8_E4M3": 1, "I16": 2, "U16": 2, "F16": 2,
    "BF16": 2, "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8,
  ]

  /// Opens a file and checks its header.
  ///
  /// - Throws: ``CheckpointError`` with the file and the defect.
  public init(_ path: String) throws {
    guard let data = try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe) else {
      throw CheckpointError(.bad, "\(path) cannot be read; is the path right?")
    }
    try self.init(data, path: path)
  }

  /// Checks the header of a file's contents.
  ///
  /// - Parameters:
  ///   - data: The contents.
  ///   - path: The file in messages.
  /// - Throws: ``CheckpointError`` with the file and the defect.
  package init(_ data: Data, path: String) throws {
    func bad(_ defect: String) -> CheckpointError {
      CheckpointError(.bad, "\(path) is not a valid safetensors file: \(defect); copy or save it again.")
    }
    self.data = data
    guard data.count >= 8 else { throw bad("it is shorter than 8 bytes") }
    let length = data.withUnsafeBytes { UInt64(littleEndian: $0.loadUnaligned(as: UInt64.self)) }
    guard length <= Self.maximumHeaderByteCount else {
      throw bad("its header claims \(length) bytes, more than the \(Self.maximumHeaderByteCount) allowed")
    }
    guard Int(length) <= data.count - 8 else {
      throw bad("its header claims \(length) bytes but only \(data.count - 8) follow")
    }
    dataStart = 8 + Int(length)
    do {
      entries = try Self.entries([UInt8](data.dropFirst(8).prefix(Int(length))), dataCount: data.count - dataStart)
    } catch let defect as StrictJSON.Defect {
      throw bad(defect.description)
    }
    self.path = path
  }

  /// The tensor called `name`, or `nil`.
  public subscript(name: String) -> Entry? { entries.first { $0.name == name } }

  /// Calls `body` with the bytes of a tensor.
  package func withBytes<Result>(
    of entry: Entry, _ body: (UnsafeRawBufferPointer) throws -> Result
  ) rethrows -> Result {
    try data.withUnsafeBytes {
      try body(
        UnsafeRawBufferPointer(
          rebasing: $0[dataStart + entry.offsets.lowerBound..<dataStart + entry.offsets.upperBound]))
    }
  }

  private static func entries(_ header: [UInt8], dataCount: Int) throws -> [Entry] {
    guard case .object(let fields) = try StrictJSON.parse(header) else {
      throw StrictJSON.Defect(description: "its header is not a JSON object")
    }
    let entries = try fields.filter { $0.key != "__metadata__" }.map {
      try entry($0.key, $0.value)
    }.sorted { $0.offsets.lowerBound < $1.offsets.lowerBound }
    var end = 0
    for entry in entries {
      guard entry.offsets.lowerBound == end else {
        let relation = entry.offsets.lowerBound < end ? "overlaps the tensor before it" : "leaves a gap"
        throw StrictJSON.Defect(description: "the tensor \(entry.name) \(relation)")
      }
      end = entry.offsets.upperBound
    }
    guard end == dataCount else {
      throw StrictJSON.Defect(
        description: end > dataCount
          ? "its tensors need \(end) bytes but only \(dataCount) follow the header"
          : "\(dataCount - end) bytes follow the last tensor")
    }
    return entries
  }

  private static func entry(_ name: String, _ value: StrictJSON.Value) throws -> Entry {
    func defect(_ what: String) -> StrictJSON.Defect {
      StrictJSON.Defect(description: "the tensor \(name) \(what)")
    }
    guard case .object(let fields) = value else { throw defect("is not described by an object") }
    let field = Dictionary(uniqueKeysWithValues: fields.map { ($0.key, $0.value) })
    guard case .string(let type)? = field["dtype"], let size = typeSizes[type] else {
      throw defect("has no dtype that the format knows")
    }
    guard let dimensions = integers(field["shape"]), dimensions.allSatisfy({ $0 >= 0 }) else {
      throw defect("has no valid shape")
    }
    guard let offsets = integers(field["data_offsets"]), offsets.count == 2, offsets[0] >= 0,
      offsets[1] >= offsets[0]
    else { throw defect("has no valid data_offsets") }
    var byteCount = size
    for dimension in dimensions {
      let (product, overflow) = byteCount.multipliedReportingOverflow(by: dimension)
      guard !overflow else { throw defect("has a shape that overflows") }
      byteCount = product
    }
    guard byteCount == offsets[1] - offsets[0] else {
      throw defect("has \(offsets[1] - offsets[0]) bytes where its shape needs \(byteCount)")
    }
    return Entry(name: name, type: type, shape: Shape(dimensions), offsets: offsets[0]..<offsets[1])
  }

  private static func integers(_ value: StrictJSON.Value?) -> [Int]? {
    guard case .array(let values)? = value else { return nil }
    let integers = values.compactMap { value -> Int? in
      if case .integer(let integer) = value { integer } else { nil }
    }
    return integers.count == values.count ? integers : nil
  }
}
