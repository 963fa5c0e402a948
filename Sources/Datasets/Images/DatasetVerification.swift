import Crypto
import Foundation
import Support

/// The report of `wrn-dist data verify`, for which every record of a directory was read.
public struct DatasetVerification: Sendable, CustomStringConvertible {
  /// The relation of the files to the real CIFAR-10.
  public enum Origin: String, Sendable {
    /// Every file has the official SHA-256 digest.
    case official = "the real CIFAR-10: every SHA-256 sum is the official one"
    /// All names and sizes are the official ones, but not all contents.
    case modified = "names and sizes of the real CIFAR-10, but other contents"
    /// Another dataset in this format.
    case other = "not the real CIFAR-10"
  }

  /// The name and the number of records of each file.
  public let files: [(name: String, records: Int)]
  /// The number of images per class in the training set and in the test set.
  public let classCounts: (training: [Int], test: [Int])
  /// The class names, in the order of the labels.
  public let classNames: [String]
  /// The relation of the files to the real CIFAR-10.
  public let origin: Origin

  /// The SHA-256 digests of the files in the official archive `cifar-10-binary.tar.gz`.
  static let officialDigests = [
    "data_batch_1.bin":
      "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin":
      "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin":
      "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin":
      "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin":
      "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin":
      "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
  ]

  /// Reads every record of a directory.
  ///
  /// - Throws: ``DatasetError`` at the first defect in sizes, labels or class names.
  public init(directory: String) throws {
    let dataset = try ImageDataset(directory: directory)
    let resolvedDirectory = try ImageDataset.resolve(directory)
    let names = try FileManager.default.contentsOfDirectory(atPath: resolvedDirectory).filter {
      $0.hasSuffix(".bin")
    }.sorted()
    classNames = dataset.classNames
    classCounts = (
      try Self.countClasses(dataset.training), try Self.countClasses(dataset.test)
    )
    var files: [(String, Int)] = []
    var digests: [String: String] = [:]
    for name in names {
      let file = try ImageDataset.open("\(resolvedDirectory)/\(name)")
      files.append((name, file.bytes.count / ImageDataset.recordByteCount))
      var hash = SHA256()
      hash.update(bufferPointer: file.bytes)
      digests[name] = hash.finalize().hexadecimal
    }
    self.files = files
    let hasOfficialSizes =
      Set(names) == Set(Self.officialDigests.keys) && files.allSatisfy { $0.1 == 10_000 }
    origin = !hasOfficialSizes ? .other : digests == Self.officialDigests ? .official : .modified
  }

  private static func countClasses(_ split: ImageDataset.Split) throws -> [Int] {
    var counts = [Int](repeating: 0, count: ImageDataset.classCount)
    let pixels = UnsafeMutablePointer<Float>.allocate(capacity: 3072)
    defer { pixels.deallocate() }
    for index in 0..<split.count { counts[Int(try split.readRecord(at: index, pixels: pixels))] += 1 }
    return counts
  }

  /// The report: one line per file and class, then the origin.
  public var description: String {
    let fileLines = files.map { "\($0.name): \($0.records) records" }
    let width = classNames.map(\.count).max() ?? 0
    let classLines = classNames.indices.map { c in
      "\(classNames[c].leftAligned(width))  \(classCounts.training[c]) training, \(classCounts.test[c]) test"
    }
    return (fileLines + classLines + ["this is \(origin.rawValue)", "no defect found"])
      .joined(separator: "\n")
  }
}
