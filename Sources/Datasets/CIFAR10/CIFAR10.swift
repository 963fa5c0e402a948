import Crypto
import Foundation
import Tensors

/// A data set in CIFAR-10's official binary layout: 32×32 colour images of ten classes
/// (Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009).
///
/// A record is 3,073 bytes: the label 0…9, then 1,024 red, 1,024 green and 1,024 blue values, row by row. Files are mapped,
/// so a rank reads only the records it needs.
public final class CIFAR10: Sendable {
  /// The bytes of a record.
  public static let recordByteCount = 3073
  /// The number of classes.
  public static let classCount = 10
  /// The class names of the real data set.
  public static let officialClassNames = [
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck",
  ]

  /// The images to train on.
  public let training: Split
  /// The images to test with.
  public let test: Split
  /// The names of classes 0…9.
  public let classNames: [String]

  /// Makes a data set of two splits.
  init(training: Split, test: Split, classNames: [String]) {
    self.training = training
    self.test = test
    self.classNames = classNames
  }

  /// Opens a folder that holds `data_batch_*.bin` and `test_batch.bin`, or a `cifar-10-batches-bin` that does.
  ///
  /// Sizes are checked, contents when they are read. Any whole number of records a file is accepted. Training files are taken
  /// in the order of their names; numbered ones must follow one another.
  ///
  /// - Throws: ``DatasetError`` naming the folder or file and what is wrong with it.
  public convenience init(directory: String) throws {
    let folder = try Self.folder(directory)
    let names = ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).filter {
      $0.hasPrefix("data_batch_") && $0.hasSuffix(".bin")
    }.sorted { $0.compare($1, options: .numeric) == .orderedAscending }
    guard !names.isEmpty else {
      throw DatasetError(
        "\(folder) has no data_batch_*.bin; give --data a folder in CIFAR-10's binary layout "
          + "(launch/fetch-cifar10 gets the real one).")
    }
    try Self.validateNumbering(names, in: folder)
    self.init(
      training: try Split(files: names.map { try Self.open("\(folder)/\($0)") }),
      test: try Split(files: [Self.open("\(folder)/test_batch.bin")]),
      classNames: try Self.classNames(folder))
  }

  /// Refuses numbered files of which one in between is missing: a copy that was not finished.
  private static func validateNumbering(_ names: [String], in folder: String) throws {
    let numbers = names.compactMap { Int($0.dropFirst("data_batch_".count).dropLast(".bin".count)) }.sorted()
    for (number, next) in zip(numbers, numbers.dropFirst()) where next > number + 1 {
      throw DatasetError(
        "\(folder) has data_batch_\(number).bin and data_batch_\(next).bin, but nothing in between; "
          + "fetch what is missing.")
    }
  }

  /// Finds the folder with the files.
  static func folder(_ directory: String) throws -> String {
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: directory, isDirectory: &isDirectory),
      isDirectory.boolValue
    else {
      throw DatasetError(
        "the data folder \(directory) does not exist; "
          + "check the path, run launch/fetch-cifar10, or use --data synthetic.")
    }
    let inner = "\(directory)/cifar-10-batches-bin"
    return FileManager.default.fileExists(atPath: inner) ? inner : directory
  }

  /// Maps a file and checks that it is a whole number of records.
  static func open(_ path: String) throws -> MappedFile {
    let file = try MappedFile(path)
    guard file.bytes.count > 0 else { throw DatasetError("\(path) is empty; fetch it again.") }
    let rest = file.bytes.count % recordByteCount
    guard rest == 0 else {
      throw DatasetError(
        "\(path) has \(file.bytes.count) bytes, which is not a multiple of \(recordByteCount): "
          + "\(file.bytes.count / recordByteCount) records and \(rest) bytes more; "
          + "it was cut short or is no CIFAR-10 file; fetch it again.")
    }
    return file
  }

  private static func classNames(_ folder: String) throws -> [String] {
    guard let text = try? String(contentsOfFile: "\(folder)/batches.meta.txt", encoding: .utf8)
    else { return officialClassNames }
    let names = text.split(whereSeparator: \.isNewline).map {
      $0.trimmingCharacters(in: .whitespaces)
    }.filter { !$0.isEmpty }
    guard names.count == classCount else {
      throw DatasetError(
        "\(folder)/batches.meta.txt names \(names.count) classes where \(classCount) are needed.")
    }
    return names
  }
}

extension CIFAR10 {
  /// Returns what must be equal on all ranks: names, sizes and digests of both splits, over every byte of the files.
  ///
  /// Reads all files once, about 0.1 s for the real set when it is in the page cache. The embedded synthetic set is described
  /// by its seed, from which every byte follows.
  public func manifest() -> [(name: String, value: String)] {
    [
      ("class names", classNames.joined(separator: " ")),
      ("training images", String(training.count)), ("training set", training.contentDigest),
      ("test images", String(test.count)), ("test set", test.contentDigest),
    ]
  }
}

extension CIFAR10 {
  /// Returns 16 hexadecimal digits that tell data sets apart: of class names, sizes and a few images of each split.
  ///
  /// It is made to notice a mistake, the synthetic set in place of the real one, and reads six records for it, not all.
  ///
  /// - Throws: ``DatasetError`` if one of them has a label above 9.
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
    return hash.finalize().prefix(8).map { byte in
      (byte < 16 ? "0" : "") + String(byte, radix: 16)
    }.joined()
  }
}
