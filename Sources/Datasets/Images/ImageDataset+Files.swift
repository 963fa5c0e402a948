import Foundation

extension ImageDataset {
  /// Opens a directory with the files of a dataset, or one whose official subdirectory has them.
  ///
  /// The files are `data_batch_*.bin` and `test_batch.bin` (CIFAR-10), or `train.bin` and `test.bin` (CIFAR-100). Their
  /// sizes are checked here, labels when they are read. A file may hold any number of whole records. CIFAR-10's training
  /// files are read in numeric order of their names, and their numbering must have no gap.
  ///
  /// - Parameters:
  ///   - directory: The directory, or the one that contains `cifar-10-batches-bin` or `cifar-100-binary`.
  ///   - kind: The layout of the files.
  /// - Throws: ``DatasetError`` that names the directory or file and the defect.
  public convenience init(directory: String, kind: DatasetKind = .cifar10) throws {
    let directory = try Self.resolve(directory, kind)
    let names = try Self.trainingFiles(directory, kind)
    self.init(
      kind: kind,
      training: try Split(kind: kind, files: names.map { try Self.open("\(directory)/\($0)", kind) }),
      test: try Split(kind: kind, files: [Self.open("\(directory)/\(kind.testFile)", kind)]),
      classNames: try Self.classNames(
        "\(directory)/\(kind.classNamesFile)", kind, official: kind.officialClassNames),
      coarseClassNames: try kind.coarseClassNamesFile.map {
        try Self.classNames("\(directory)/\($0)", kind, official: kind.officialCoarseClassNames)
      } ?? [])
  }

  /// Returns the names of the training files in their order.
  private static func trainingFiles(_ directory: String, _ kind: DatasetKind) throws -> [String] {
    let names = fileNames(directory, kind)
    guard names.isEmpty else {
      try validateNumbering(names, in: directory)
      return names
    }
    for other in DatasetKind.allCases where other != kind {
      guard
        !fileNames(directory, other).isEmpty
          || FileManager.default.fileExists(atPath: "\(directory)/\(other.archiveDirectory)")
      else { continue }
      throw DatasetError(
        "\(directory) has no \(kind.trainingFiles) and looks like \(other.title); "
          + "pass --dataset \(other.rawValue), or --data a directory in \(kind.title)'s binary layout.")
    }
    throw DatasetError(
      "\(directory) has no \(kind.trainingFiles); pass --data a directory in \(kind.title)'s binary layout "
        + "(\(kind.fetchCommand) downloads the real one).")
  }

  /// Returns the training files of a layout that a directory has, in numeric order of their names.
  private static func fileNames(_ directory: String, _ kind: DatasetKind) -> [String] {
    let names = (try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []
    switch kind {
    case .cifar10:
      return names.filter { $0.hasPrefix("data_batch_") && $0.hasSuffix(".bin") }.sorted {
        $0.compare($1, options: .numeric) == .orderedAscending
      }
    case .cifar100: return names.filter { $0 == kind.trainingFiles }
    }
  }

  /// Checks that the numbering of CIFAR-10's training files has no gap, as after an incomplete copy.
  private static func validateNumbering(_ names: [String], in directory: String) throws {
    let numbers = names.compactMap { Int($0.dropFirst("data_batch_".count).dropLast(".bin".count)) }.sorted()
    for (number, next) in zip(numbers, numbers.dropFirst()) where next > number + 1 {
      throw DatasetError(
        "\(directory) has data_batch_\(number).bin and data_batch_\(next).bin, but no file between them; "
          + "fetch the missing files.")
    }
  }

  /// Returns `directory`, or its subdirectory with the official name if there is one.
  ///
  /// - Throws: ``DatasetError`` if `directory` is not a directory.
  static func resolve(_ directory: String, _ kind: DatasetKind) throws -> String {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory),
      isDirectory.boolValue
    else {
      throw DatasetError(
        "the data directory \(directory) does not exist; "
          + "check the path, run \(kind.fetchCommand), or use --data synthetic.")
    }
    let inner = "\(directory)/\(kind.archiveDirectory)"
    return FileManager.default.fileExists(atPath: inner) ? inner : directory
  }

  /// Maps a file.
  ///
  /// - Throws: ``DatasetError`` if the file cannot be read, is empty, or does not hold whole records.
  static func open(_ path: String, _ kind: DatasetKind) throws -> MappedFile {
    try validateSize(MappedFile(path), kind)
  }

  /// Returns a file after a check of its size.
  ///
  /// - Throws: ``DatasetError`` if it is empty or does not hold whole records.
  package static func validateSize(_ file: MappedFile, _ kind: DatasetKind) throws -> MappedFile {
    let (path, byteCount) = (file.path, file.bytes.count)
    guard byteCount > 0 else { throw DatasetError("\(path) is empty; fetch it again.") }
    let remainder = byteCount % kind.recordByteCount
    guard remainder == 0 else {
      let other = DatasetKind.allCases.first { byteCount.isMultiple(of: $0.recordByteCount) }
      throw DatasetError(
        "\(path) has \(byteCount) bytes, which is not a multiple of \(kind.recordByteCount): "
          + "\(byteCount / kind.recordByteCount) records and \(remainder) bytes more; "
          + (other.map { "it looks like \($0.title): pass --dataset \($0.rawValue), or fetch it again." }
            ?? "it is truncated or not a \(kind.title) file; fetch it again."))
    }
    return file
  }

  /// Reads a file with one class name per line; outer spaces and empty lines are skipped.
  ///
  /// - Parameter path: A text file in UTF-8.
  /// - Returns: The names in the order of the lines; `nil` if the file cannot be read.
  package static func readClassNames(_ path: String) -> [String]? {
    (try? String(contentsOfFile: path, encoding: .utf8)).map(classNames(in:))
  }

  /// Returns the class names of a text with one name per line.
  package static func classNames(in text: String) -> [String] {
    text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
      .filter { !$0.isEmpty }
  }

  /// Returns the class names of a file; the official names if there is none.
  private static func classNames(_ path: String, _ kind: DatasetKind, official: [String]) throws -> [String] {
    guard let names = readClassNames(path) else { return official }
    guard names.count == official.count else {
      throw DatasetError(
        "\(path) names \(names.count) classes instead of \(official.count); "
          + "fetch it again, or delete it to use the names of \(kind.title).")
    }
    return names
  }
}
