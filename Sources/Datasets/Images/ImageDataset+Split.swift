import Crypto
import Tensors

extension ImageDataset {
  /// The records of a training or test set, stored in memory-mapped files or generated when they are read.
  public struct Split: Sendable {
    private enum Storage {
      /// Files, and per file the number of records up to its end.
      case files([MappedFile], ends: [Int])
      case synthetic(SyntheticCIFAR10)
      case whitened(WhitenedImages)
    }

    private let storage: Storage
    /// The record of the storage that is this split's record 0.
    private let first: Int
    /// The number of records.
    public let count: Int

    private init(_ storage: Storage, first: Int, count: Int) {
      self.storage = storage
      self.first = first
      self.count = count
    }

    /// Creates the concatenation of files, each of whole records.
    init(files: [MappedFile]) {
      var ends: [Int] = []
      for file in files {
        ends.append((ends.last ?? 0) + file.bytes.count / ImageDataset.recordByteCount)
      }
      self.init(.files(files, ends: ends), first: 0, count: ends.last ?? 0)
    }

    /// Creates a split whose records are generated.
    init(synthetic: SyntheticCIFAR10) {
      self.init(.synthetic(synthetic), first: 0, count: synthetic.count)
    }

    /// Creates a split whose images have been whitened.
    init(whitened images: WhitenedImages) {
      self.init(.whitened(images), first: 0, count: images.count)
    }

    /// Divides the split into training and validation images: all but the last `validationCount` records, and those.
    ///
    /// - Precondition: `validationCount` is at least 0, and at least one training image remains.
    public func holdingOut(_ validationCount: Int) -> (training: Split, validation: Split) {
      precondition((0..<count).contains(validationCount), "at least one training image must remain")
      let trainingCount = count - validationCount
      return (
        Split(storage, first: first, count: trainingCount),
        Split(storage, first: first + trainingCount, count: validationCount)
      )
    }

    /// Reads one record.
    ///
    /// - Parameters:
    ///   - index: The index of the record, in 0 ..< ``count``.
    ///   - pixels: The destination of the image, `HWC`, 3,072 raw values 0 … 255.
    /// - Returns: The label, 0 … 9.
    /// - Throws: ``DatasetError`` if the label is above 9.
    /// - Precondition: The split has not been whitened.
    public func readRecord(
      at index: Int, pixels: UnsafeMutablePointer<Float>
    ) throws -> UInt8 {
      try withImage(at: index) { label, image in
        guard case .planes(let planes) = image else {
          preconditionFailure("a whitened split has no raw values")
        }
        for pixel in 0..<1024 {
          for c in 0..<3 { pixels[3 * pixel + c] = Float(planes[1024 * c + pixel]) }
        }
        return label
      }
    }

    /// Calls a body with a record's label and pixels.
    ///
    /// - Parameters:
    ///   - index: The index of the record, in 0 ..< ``count``.
    ///   - body: The pixels are valid until it returns.
    /// - Returns: The result of `body`.
    /// - Throws: ``DatasetError`` if the label is above 9; the error of `body`.
    public func withImage<Result>(
      at index: Int, _ body: (_ label: UInt8, _ image: StoredImage) throws -> Result
    ) throws -> Result {
      precondition((0..<count).contains(index), "record \(index) is not in 0..<\(count)")
      let index = first + index
      switch storage {
      case .files(let files, let ends):
        var f = 0
        while index >= ends[f] { f += 1 }
        let indexInFile = index - (f == 0 ? 0 : ends[f - 1])
        let record = UnsafeRawBufferPointer(
          rebasing: files[f].bytes[
            indexInFile * ImageDataset.recordByteCount..<(indexInFile + 1) * ImageDataset.recordByteCount])
        try Self.validateLabel(record[0], of: indexInFile, in: files[f])
        return try Self.withPlanes(record, body)
      case .synthetic(let set):
        // On the stack: a temporary allocation of this size would use the heap.
        var record = InlineArray<3073, UInt8>(repeating: 0)
        return try withUnsafeMutableBytes(of: &record) { bytes in
          set.generate(index, into: bytes)
          return try Self.withPlanes(UnsafeRawBufferPointer(bytes), body)
        }
      case .whitened(let images):
        return try body(images.labels[index], .whitened(images.pixels.pointer + 3072 * index))
      }
    }

    private static func withPlanes<Result>(
      _ record: UnsafeRawBufferPointer, _ body: (UInt8, StoredImage) throws -> Result
    ) rethrows -> Result {
      let planes = UnsafeRawBufferPointer(rebasing: record.dropFirst()).assumingMemoryBound(to: UInt8.self)
      guard let start = planes.baseAddress else { preconditionFailure("a record has pixels") }
      return try body(record[0], .planes(start))
    }

    /// Checks the labels of all records, so that a run does not fail hours later at a damaged one.
    ///
    /// Takes 0.02 to 0.03 s for the real dataset if it is in the page cache; otherwise it reads the files.
    ///
    /// - Throws: ``DatasetError`` for the first label above 9.
    func validateLabels() throws {
      guard case .files(let files, _) = storage else { return }
      for file in files {
        for record in 0..<file.bytes.count / ImageDataset.recordByteCount {
          try Self.validateLabel(file.bytes[record * ImageDataset.recordByteCount], of: record, in: file)
        }
      }
    }

    private static func validateLabel(_ label: UInt8, of record: Int, in file: MappedFile) throws {
      guard label < ImageDataset.classCount else {
        throw DatasetError(
          "\(file.path): record \(record) has label \(label), above 9; "
            + "the file is damaged or not a CIFAR-10 file; fetch it again.")
      }
    }

    /// `SHA-256` and the first 16 hexadecimal digits over all records, or the name of the synthetic set.
    ///
    /// - Precondition: The split is a whole dataset's, neither divided nor whitened.
    var contentDigest: String {
      switch storage {
      case .files(let files, _):
        var hash = SHA256()
        for file in files { hash.update(bufferPointer: UnsafeRawBufferPointer(file.bytes)) }
        return "SHA-256 " + hash.finalize().prefix(8).hexadecimal
      case .synthetic(let set): return set.name
      case .whitened: preconditionFailure("a digest covers raw values")
      }
    }
  }
}
