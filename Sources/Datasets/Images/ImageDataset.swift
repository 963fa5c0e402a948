import Crypto
import Foundation
import Tensors

/// A dataset in CIFAR-10's official binary layout: 32×32 color images of ten classes.
///
/// A record has 3,073 bytes: the label 0…9, then 1,024 red, 1,024 green and 1,024 blue values, each plane row by row.
/// Files are memory-mapped, so a rank reads only the records that it needs.
///
/// Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009.
public final class ImageDataset: Sendable {
  /// The rows and columns of an image.
  public static let imageSize = 32
  /// The bytes per record.
  public static let recordByteCount = 3073
  /// The number of classes.
  public static let classCount = 10
  /// The class names of the real dataset, in the order of the labels.
  public static let officialClassNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  /// The training set.
  public let training: Split
  /// The test set.
  public let test: Split
  /// The class names, in the order of the labels.
  public let classNames: [String]

  /// Creates a dataset from its two splits.
  init(training: Split, test: Split, classNames: [String]) {
    self.training = training
    self.test = test
    self.classNames = classNames
  }

  /// Opens a directory with `data_batch_*.bin` and `test_batch.bin`, or one whose `cifar-10-batches-bin` has them.
  ///
  /// The sizes of the files are checked here, labels when they are read. A file may hold any number of whole records.
  /// Training files are read in numeric order of their names, and their numbering must have no gap.
  ///
  /// - Throws: ``DatasetError`` that names the directory or file and the defect.
  public convenience init(directory: String) throws {
    let directory = try Self.resolve(directory)
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: directory)) ?? []).filter {
      $0.hasPrefix("data_batch_") && $0.hasSuffix(".bin")
    }.sorted { $0.compare($1, options: .numeric) == .orderedAscending }
    guard !names.isEmpty else {
      throw DatasetError(
        "\(directory) has no data_batch_*.bin; pass --data a directory in CIFAR-10's binary layout "
          + "(launch/fetch-cifar10 downloads the real one).")
    }
    try Self.validateNumbering(names, in: directory)
    self.init(
      training: try Split(files: names.map { try Self.open("\(directory)/\($0)") }),
      test: try Split(files: [Self.open("\(directory)/test_batch.bin")]),
      classNames: try Self.classNames(directory))
  }

  /// Checks that the numbering of the training files has no gap, as after an incomplete copy.
  private static func validateNumbering(_ names: [String], in directory: String) throws {
    let numbers = names.compactMap { Int($0.dropFirst("data_batch_".count).dropLast(".bin".count)) }.sorted()
    for (number, next) in zip(numbers, numbers.dropFirst()) where next > number + 1 {
      throw DatasetError(
        "\(directory) has data_batch_\(number).bin and data_batch_\(next).bin, but no file between them; "
          + "fetch the missing files.")
    }
  }

  /// Returns `directory`, or its subdirectory `cifar-10-batches-bin` if there is one.
  ///
  /// - Throws: ``DatasetError`` if `directory` is not a directory.
  static func resolve(_ directory: String) throws -> String {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory),
      isDirectory.boolValue
    else {
      throw DatasetError(
        "the data directory \(directory) does not exist; "
          + "check the path, run launch/fetch-cifar10, or use --data synthetic.")
    }
    let inner = "\(directory)/cifar-10-batches-bin"
    return FileManager.default.fileExists(atPath: inner) ? inner : directory
  }

  /// Maps a file.
  ///
  /// - Throws: ``DatasetError`` if the file cannot be read, is empty, or does not hold whole records.
  static func open(_ path: String) throws -> MappedFile {
    let file = try MappedFile(path)
    guard file.bytes.count > 0 else { throw DatasetError("\(path) is empty; fetch it again.") }
    let remainder = file.bytes.count % recordByteCount
    guard remainder == 0 else {
      throw DatasetError(
        "\(path) has \(file.bytes.count) bytes, which is not a multiple of \(recordByteCount): "
          + "\(file.bytes.count / recordByteCount) records and \(remainder) bytes more; "
          + "it is truncated or not a CIFAR-10 file; fetch it again.")
    }
    return file
  }

  private static func classNames(_ directory: String) throws -> [String] {
    guard let text = try? String(contentsOfFile: "\(directory)/batches.meta.txt", encoding: .utf8)
    else { return officialClassNames }
    let names = text.split(whereSeparator: \.isNewline).map {
      $0.trimmingCharacters(in: .whitespaces)
    }.filter { !$0.isEmpty }
    guard names.count == classCount else {
      throw DatasetError(
        "\(directory)/batches.meta.txt names \(names.count) classes instead of \(classCount); "
          + "fetch it again, or delete it to use the names of CIFAR-10.")
    }
    return names
  }
}

extension ImageDataset {
  /// Returns the properties that must be equal on all ranks: class names, and size and digest of each split.
  ///
  /// A digest covers every byte of the split's files: about 0.1 s for the real dataset if it is in the page cache. The
  /// embedded synthetic set is identified by its seed, which determines every byte.
  public func manifest() -> [(name: String, value: String)] {
    [
      ("class names", classNames.joined(separator: " ")),
      ("training images", String(training.count)), ("training set", training.contentDigest),
      ("test images", String(test.count)), ("test set", test.contentDigest),
    ]
  }

  /// Returns 16 hexadecimal digits over class names, sizes and three records of each split.
  ///
  /// The fingerprint detects a mistake, for example the synthetic set in place of the real one. It reads only six
  /// records; ``manifest()`` covers all.
  ///
  /// - Throws: ``DatasetError`` if one of these records has a label above 9.
  public func fingerprint() throws -> String {
    var hash = SHA256()
    func add(_ number: Int) { withUnsafeBytes(of: Int64(number).littleEndian) { hash.update(bufferPointer: $0) } }
    for name in classNames { Array(name.utf8 + [0]).withUnsafeBytes { hash.update(bufferPointer: $0) } }
    let pixels = AlignedBuffer<Float>(count: Self.recordByteCount - 1)
    for split in [training, test] {
      add(split.count)
      for index in [0, split.count / 2, split.count - 1] {
        add(Int(try split.readRecord(at: index, pixels: pixels.pointer)))
        for value in pixels.elements { add(Int(value)) }
      }
    }
    return hash.finalize().prefix(8).hexadecimal
  }
}

extension Sequence<UInt8> {
  /// The bytes as lowercase hexadecimal digits, two per byte.
  var hexadecimal: String { map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined() }
}
