import CZlib
import Clusters
import Datasets
import Images

extension FuzzTarget {
  static func readHosts(_ bytes: UnsafeRawBufferPointer) {
    for isPBSNodeFile in [false, true] {
      // Few hosts: more of them are more of the same.
      let file = HostFile([UInt8](bytes), isPBSNodeFile: isPBSNodeFile, maximumListCount: 256)
      _ = file.slotCount(slotsPerHost: 4)
      guard file.fatal == nil else { continue }
      let isPlain = file.hosts.allSatisfy { $0.name.utf8.allSatisfy { (33..<127).contains($0) } }
      precondition(isPlain, "names of hosts are ASCII without blanks")
      let read = HostFile(Array(file.rendered(comment: "hosts").utf8))
      precondition(
        read.fatal == nil && read.needsConversion == nil && read.hosts.map(\.name) == file.hosts.map(\.name)
          && read.hosts.map(\.slots) == file.hosts.map(\.slots), "a host file that was written is read as it was")
    }
  }

  static func readImages(_ bytes: UnsafeRawBufferPointer) {
    if let text = String(validating: bytes, as: UTF8.self) { _ = ImageDataset.classNames(in: text) }
    for kind in DatasetKind.allCases {
      readRecords(bytes, kind)
      // Few inputs have a length of whole records.
      let missing = kind.recordByteCount - 1 - (bytes.count + kind.recordByteCount - 1) % kind.recordByteCount
      guard missing > 0 else { continue }
      ([UInt8](bytes) + [UInt8](repeating: 0, count: missing)).withUnsafeBytes { readRecords($0, kind) }
    }
  }

  private static func readRecords(_ bytes: UnsafeRawBufferPointer, _ kind: DatasetKind) {
    let mapped = MappedFile(borrowing: bytes, path: "data_batch_1.bin")
    guard let file = try? ImageDataset.validateSize(mapped, kind) else { return }
    let split = ImageDataset.Split(kind: kind, files: [file])
    let areValid = (try? split.validateLabels()) != nil
    withUnsafeTemporaryAllocation(of: Float.self, capacity: 3072) { pixels in
      guard let start = pixels.baseAddress else { return }
      for index in 0..<split.count {
        let label = try? split.readRecord(at: index, pixels: start)
        precondition(label != nil || !areValid, "records of valid labels are read")
        _ = try? split.coarseLabel(at: index)
      }
    }
  }

  /// Decodes an image as it is, and a PNG also with valid checksums, which no fuzzer finds.
  static func decodeImage(_ bytes: UnsafeRawBufferPointer) {
    // Small images: the time of large ones is that of the libraries.
    let maximumPixelCount = 4096
    _ = try? ImageDecoder.decode(bytes, name: "image", maximumPixelCount: maximumPixelCount)
    guard bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) else { return }
    var repaired = [UInt8](bytes)
    var offset = 8
    while offset + 12 <= repaired.count {
      let length = repaired[offset..<offset + 4].reduce(0) { $0 << 8 | Int($1) }
      guard length <= repaired.count - offset - 12 else { break }
      let sum = repaired[offset + 4..<offset + 8 + length].withUnsafeBufferPointer { chunk in
        crc32(0, chunk.baseAddress, UInt32(chunk.count))
      }
      for i in 0..<4 { repaired[offset + 8 + length + i] = UInt8(truncatingIfNeeded: sum >> (24 - 8 * i)) }
      offset += 12 + length
    }
    repaired.withUnsafeBytes { _ = try? ImageDecoder.decode($0, name: "image", maximumPixelCount: maximumPixelCount) }
  }
}
