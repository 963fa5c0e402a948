import Digests
import Foundation
import Support

/// The report of `wrn-dist data verify`, for which every record of a directory was read.
public struct DatasetVerification: Sendable, CustomStringConvertible {
  /// The relation of the files to the real dataset.
  public enum Origin: Sendable {
    /// Every file has the official SHA-256 digest.
    case official
    /// All names, sizes and class counts are the official ones; official digests of the files are not known.
    case plausible
    /// All names and sizes are the official ones, but not all contents.
    case modified
    /// Another dataset in this format.
    case other
  }

  /// The layout and the classes.
  public let kind: DatasetKind
  /// The name and the number of records of each file.
  public let files: [(name: String, records: Int)]
  /// The number of images per class in the training set and in the test set.
  public let classCounts: (training: [Int], test: [Int])
  /// The number of images per coarse class; empty without coarse classes.
  public let coarseClassCounts: (training: [Int], test: [Int])
  /// The class names, in the order of the labels.
  public let classNames: [String]
  /// The coarse class names, in the order of the coarse labels.
  public let coarseClassNames: [String]
  /// The relation of the files to the real dataset.
  public let origin: Origin

  /// The SHA-256 digests of the files in the official archive `cifar-10-binary.tar.gz`.
  private static let cifar10Digests = [
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

  /// The records of CIFAR-100's files.
  private static let cifar100Records = ["train.bin": 50_000, "test.bin": 10_000]

  /// Reads every record of a directory.
  ///
  /// - Parameters:
  ///   - directory: The directory, or the one that contains the official directory.
  ///   - kind: The layout of the files.
  /// - Throws: ``DatasetError`` at the first defect in sizes, labels or class names.
  public init(directory: String, kind: DatasetKind = .cifar10) throws {
    let dataset = try ImageDataset(directory: directory, kind: kind)
    let resolvedDirectory = try ImageDataset.resolve(directory, kind)
    let names = try FileManager.default.contentsOfDirectory(atPath: resolvedDirectory).filter {
      $0.hasSuffix(".bin")
    }.sorted()
    self.kind = kind
    classNames = dataset.classNames
    coarseClassNames = dataset.coarseClassNames
    let (training, test) = (try Self.countClasses(dataset.training), try Self.countClasses(dataset.test))
    classCounts = (training.fine, test.fine)
    coarseClassCounts = (training.coarse, test.coarse)
    var files: [(name: String, records: Int)] = []
    var digests: [String: String] = [:]
    for name in names {
      let file = try ImageDataset.open("\(resolvedDirectory)/\(name)", kind)
      files.append((name, file.bytes.count / kind.recordByteCount))
      let hash = SHA256()
      hash.update(file.bytes)
      digests[name] = hash.finalize().hexadecimal
    }
    self.files = files
    let officialRecords =
      kind == .cifar10 ? Self.cifar10Digests.mapValues { _ in 10_000 } : Self.cifar100Records
    if Dictionary(uniqueKeysWithValues: files.map { ($0.name, $0.records) }) != officialRecords {
      origin = .other
    } else if kind == .cifar10 {
      origin = digests == Self.cifar10Digests ? .official : .modified
    } else {
      let isBalanced = training.fine.allSatisfy { $0 == 500 } && test.fine.allSatisfy { $0 == 100 }
      origin = isBalanced ? .plausible : .modified
    }
  }

  private static func countClasses(_ split: ImageDataset.Split) throws -> (fine: [Int], coarse: [Int]) {
    var fine = [Int](repeating: 0, count: split.kind.classCount)
    var coarse = [Int](repeating: 0, count: split.kind.coarseClassCount)
    for index in 0..<split.count {
      fine[Int(try split.withImage(at: index) { label, _ in label })] += 1
      if let label = try split.coarseLabel(at: index) { coarse[Int(label)] += 1 }
    }
    return (fine, coarse)
  }

  /// The report: one line per file and class, then the origin.
  public var description: String {
    let fileLines = files.map { "\($0.name): \($0.records) records" }
    let width = (classNames + coarseClassNames).map(\.count).max() ?? 0
    func lines(_ names: [String], _ counts: (training: [Int], test: [Int])) -> [String] {
      names.indices.map { c in
        "\(names[c].leftAligned(width))  \(counts.training[c]) training, \(counts.test[c]) test"
      }
    }
    let classLines = lines(classNames, classCounts)
    let coarseLines = lines(coarseClassNames, coarseClassCounts)
    return (fileLines + classLines + coarseLines + ["this is \(originDescription)", "no defect found"])
      .joined(separator: "\n")
  }

  private var originDescription: String {
    switch origin {
    case .official: "the real \(kind.title): every SHA-256 sum is the official one"
    case .plausible:
      "probably the real \(kind.title): it has its names, sizes and class counts (official SHA-256 sums are not known)"
    case .modified: "names and sizes of the real \(kind.title), but other contents"
    case .other: "not the real \(kind.title)"
    }
  }
}
