import Digests
import Tensors

extension ImageDataset {
  /// The records of a training or test set, stored in memory-mapped files or generated when they are read.
  public struct Split: Sendable {
    private enum Storage {
      /// Files, and per file the number of records up to its end.
      case files([MappedFile], ends: [Int])
      case synthetic(SyntheticSplit)
      case whitened(WhitenedImages)
    }

    /// The layout of the records.
    public let kind: DatasetKind
    private let storage: Storage
    /// The record of the storage that is this split's record 0.
    private let first: Int
    /// The number of records.
    public let count: Int

    private init(_ kind: DatasetKind, _ storage: Storage, first: Int, count: Int) {
      self.kind = kind
      self.storage = storage
      self.first = first
      self.count = count
    }

    /// Creates the concatenation of files, each of whole records.
    package init(kind: DatasetKind, files: [MappedFile]) {
      var ends: [Int] = []
      for file in files { ends.append((ends.last ?? 0) + file.bytes.count / kind.recordByteCount) }
      self.init(kind, .files(files, ends: ends), first: 0, count: ends.last ?? 0)
    }

    /// Creates a split whose records are generated.
    init(synthetic: SyntheticSplit) {
      self.init(synthetic.kind, .synthetic(synthetic), first: 0, count: synthetic.count)
    }

    /// Creates a split whose images have been whitened.
    init(kind: DatasetKind, whitened images: WhitenedImages) {
      self.init(kind, .whitened(images), first: 0, count: images.count)
    }

    /// Divides the split into training and validation images: all but the last `validationCount` records, and those.
    ///
    /// - Precondition: `validationCount` is at least 0, and at least one training image remains.
    public func holdingOut(_ validationCount: Int) -> (training: Split, validation: Split) {
      precondition((0..<count).contains(validationCount), "at least one training image must remain")
      let trainingCount = count - validationCount
      return (
        Split(kind, storage, first: first, count: trainingCount),
        Split(kind, storage, first: first + trainingCount, count: validationCount)
      )
    }

    /// Reads one record.
    ///
    /// - Parameters:
    ///   - index: The index of the record, in 0 ..< ``count``.
    ///   - pixels: The destination of the image, `HWC`, 3,072 raw values 0 … 255.
    /// - Returns: The label, 0 … 9 or 0 … 99: CIFAR-100's fine label.
    /// - Throws: ``DatasetError`` if a label is too large.
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
    /// - Throws: ``DatasetError`` if a label is too large; the error of `body`.
    public func withImage<Result>(
      at index: Int, _ body: (_ label: UInt8, _ image: StoredImage) throws -> Result
    ) throws -> Result {
      if case .whitened(let images) = storage {
        precondition((0..<count).contains(index), "record \(index) is not in 0..<\(count)")
        return try body(images.labels[first + index], .whitened(images.pixels.pointer + 3072 * (first + index)))
      }
      return try withRecord(at: index) { record in
        let pixels = UnsafeRawBufferPointer(rebasing: record.dropFirst(kind.labelByteCount))
        guard let start = pixels.assumingMemoryBound(to: UInt8.self).baseAddress else {
          preconditionFailure("a record has pixels")
        }
        return try body(record[kind.labelByteCount - 1], .planes(start))
      }
    }

    /// Returns the coarse label of a record.
    ///
    /// - Parameter index: The index of the record, in 0 ..< ``count``.
    /// - Returns: The label, 0 … 19; `nil` if the dataset has no coarse classes.
    /// - Throws: ``DatasetError`` if a label is too large.
    /// - Precondition: The split has not been whitened.
    public func coarseLabel(at index: Int) throws -> UInt8? {
      try withRecord(at: index) { kind.coarseClassCount > 0 ? $0[0] : nil }
    }

    /// Calls a body with the bytes of a record, whose labels are valid.
    private func withRecord<Result>(
      at index: Int, _ body: (_ record: UnsafeRawBufferPointer) throws -> Result
    ) throws -> Result {
      precondition((0..<count).contains(index), "record \(index) is not in 0..<\(count)")
      let index = first + index
      switch storage {
      case .files(let files, let ends):
        var f = 0
        while index >= ends[f] { f += 1 }
        let indexInFile = index - (f == 0 ? 0 : ends[f - 1])
        let start = indexInFile * kind.recordByteCount
        let record = UnsafeRawBufferPointer(rebasing: files[f].bytes[start..<start + kind.recordByteCount])
        try validateLabels(record, indexInFile, in: files[f])
        return try body(record)
      case .synthetic(let set):
        // On the stack: a temporary allocation of this size would use the heap. Large enough for every kind.
        var record = InlineArray<3074, UInt8>(repeating: 0)
        return try withUnsafeMutableBytes(of: &record) { bytes in
          let record = UnsafeMutableRawBufferPointer(rebasing: bytes[0..<kind.recordByteCount])
          set.generate(index, into: record)
          return try body(UnsafeRawBufferPointer(record))
        }
      case .whitened: preconditionFailure("a whitened split has no records")
      }
    }

    /// Checks the labels of all records, so that a run does not fail hours later at a damaged one.
    ///
    /// Takes 0.02 to 0.03 s for the real dataset if it is in the page cache; otherwise it reads the files.
    ///
    /// - Throws: ``DatasetError`` for the first label that is too large.
    package func validateLabels() throws {
      guard case .files(let files, _) = storage else { return }
      for file in files {
        for record in 0..<file.bytes.count / kind.recordByteCount {
          let start = record * kind.recordByteCount
          try validateLabels(
            UnsafeRawBufferPointer(rebasing: file.bytes[start..<start + kind.labelByteCount]), record, in: file)
        }
      }
    }

    /// Checks the labels at the start of a record.
    private func validateLabels(_ record: UnsafeRawBufferPointer, _ index: Int, in file: MappedFile) throws {
      let label = record[kind.labelByteCount - 1]
      if label >= kind.classCount {
        throw invalidLabel("label \(label), above \(kind.classCount - 1)", index, in: file)
      }
      if kind.coarseClassCount > 0 && record[0] >= kind.coarseClassCount {
        throw invalidLabel("coarse label \(record[0]), above \(kind.coarseClassCount - 1)", index, in: file)
      }
    }

    private func invalidLabel(_ defect: String, _ index: Int, in file: MappedFile) -> DatasetError {
      DatasetError(
        "\(file.path): record \(index) has \(defect); "
          + "the file is damaged or not a \(kind.title) file; fetch it again.")
    }

    /// `SHA-256` and the first 16 hexadecimal digits over all records, or the name of the synthetic set.
    ///
    /// - Precondition: The split is a whole dataset's, neither divided nor whitened.
    var contentDigest: String {
      switch storage {
      case .files(let files, _):
        let hash = SHA256()
        for file in files { hash.update(UnsafeRawBufferPointer(file.bytes)) }
        return "SHA-256 " + hash.finalize().prefix(8).hexadecimal
      case .synthetic(let set): return set.name
      case .whitened: preconditionFailure("a digest covers raw values")
      }
    }
  }
}
