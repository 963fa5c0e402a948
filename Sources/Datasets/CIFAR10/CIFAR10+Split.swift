import Crypto
import Glibc
import Tensors

extension CIFAR10 {
  /// The records of a training or test set, in mapped files or drawn when they are read.
  public struct Split: Sendable {
    private enum Storage {
      case files([MappedFile], ends: [Int])
      case synthetic(SyntheticCIFAR10)
    }

    private let storage: Storage
    /// The number of records.
    public let count: Int

    init(files: [MappedFile]) throws {
      var ends: [Int] = []
      for file in files {
        ends.append((ends.last ?? 0) + file.bytes.count / CIFAR10.recordByteCount)
      }
      count = ends.last ?? 0
      storage = .files(files, ends: ends)
    }

    init(synthetic: SyntheticCIFAR10) {
      storage = .synthetic(synthetic)
      count = synthetic.count
    }

    /// Reads one record.
    ///
    /// - Parameters:
    ///   - index: Its number, 0 ..< ``count``.
    ///   - pixels: Receives the image, `HWC`, raw values 0 … 255.
    /// - Returns: The label, 0 … 9.
    /// - Throws: ``DatasetError`` if the label is above 9.
    public func readRecord(
      at index: Int, pixels: UnsafeMutablePointer<Float>
    ) throws -> UInt8 {
      precondition((0..<count).contains(index), "there is no record \(index)")
      switch storage {
      case .files(let files, let ends):
        var f = 0
        while index >= ends[f] { f += 1 }
        let local = index - (f == 0 ? 0 : ends[f - 1])
        let record = UnsafeRawBufferPointer(
          rebasing: files[f].bytes[
            local * CIFAR10.recordByteCount..<(local + 1) * CIFAR10.recordByteCount])
        try Self.requireClass(record[0], of: local, in: files[f])
        Self.unpack(record, into: pixels)
        return record[0]
      case .synthetic(let set):
        // On the stack: temporary allocations of this size would go to the heap.
        var record = InlineArray<3073, UInt8>(repeating: 0)
        return withUnsafeMutableBytes(of: &record) { bytes in
          set.draw(index, into: bytes)
          Self.unpack(UnsafeRawBufferPointer(bytes), into: pixels)
          return bytes[0]
        }
      }
    }

    /// Makes sure that every record has a label; a run need not get as far as a bad one to find it.
    ///
    /// Takes 0.02 to 0.03 s for the real set where it is in the page cache; else the files are read, as a run would.
    ///
    /// - Throws: ``DatasetError`` for the first label above 9.
    func validateLabels() throws {
      guard case .files(let files, _) = storage else { return }
      for file in files {
        for record in 0..<file.bytes.count / CIFAR10.recordByteCount {
          try Self.requireClass(file.bytes[record * CIFAR10.recordByteCount], of: record, in: file)
        }
      }
    }

    private static func requireClass(_ label: UInt8, of record: Int, in file: MappedFile) throws {
      guard label < CIFAR10.classCount else {
        throw DatasetError(
          "\(file.path): record \(record) has label \(label), above 9; "
            + "the file is damaged or no CIFAR-10 file; fetch it again.")
      }
    }

    /// `SHA-256` and 16 hexadecimal digits over all records, or the name of the synthetic set.
    var contentDigest: String {
      switch storage {
      case .files(let files, _):
        var hash = SHA256()
        for file in files { hash.update(bufferPointer: UnsafeRawBufferPointer(file.bytes)) }
        let hex = hash.finalize().prefix(8).map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }
        return "SHA-256 " + hex.joined()
      case .synthetic(let set): return set.name
      }
    }

    /// Turns planes of bytes, `CHW`, into floats, `HWC`.
    private static func unpack(
      _ record: UnsafeRawBufferPointer, into pixels: UnsafeMutablePointer<Float>
    ) {
      for pixel in 0..<1024 {
        for c in 0..<3 { pixels[3 * pixel + c] = Float(record[1 + 1024 * c + pixel]) }
      }
    }
  }
}

/// A file mapped into memory: only the pages that are read are ever loaded.
final class MappedFile: @unchecked Sendable {
  /// The file's path.
  let path: String
  /// The file's bytes.
  let bytes: UnsafeRawBufferPointer

  /// Maps a file.
  ///
  /// - Throws: ``DatasetError`` if it cannot be read.
  init(_ path: String) throws {
    self.path = path
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    defer { if descriptor >= 0 { close(descriptor) } }
    var information = stat()
    guard descriptor >= 0, fstat(descriptor, &information) == 0 else {
      throw DatasetError("\(path) cannot be read: \(String(cString: strerror(errno))).")
    }
    let count = Int(information.st_size)
    guard count > 0 else {
      bytes = UnsafeRawBufferPointer(start: nil, count: 0)
      return
    }
    guard let start = mmap(nil, count, PROT_READ, MAP_PRIVATE, descriptor, 0), start != MAP_FAILED
    else {
      throw DatasetError("\(path) cannot be mapped: \(String(cString: strerror(errno))).")
    }
    bytes = UnsafeRawBufferPointer(start: start, count: count)
  }

  deinit {
    if let start = bytes.baseAddress {
      munmap(UnsafeMutableRawPointer(mutating: start), bytes.count)
    }
  }
}
