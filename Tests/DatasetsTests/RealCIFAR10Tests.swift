import Datasets
import Foundation
import TestSupport
import Testing

/// The real dataset, if available: in the directory `WRN_CIFAR10`, or unpacked by `../shared/cifar10/unpack`.
@Suite struct RealCIFAR10Tests {
  private static let directory = ProcessInfo.processInfo.environment["WRN_CIFAR10"]
  private static let unpacker = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("shared/cifar10/unpack").path
  private static let isAvailable =
    directory != nil || FileManager.default.isExecutableFile(atPath: unpacker)
  private static let skipReason: Comment =
    "skipped, because neither WRN_CIFAR10 nor ../shared/cifar10 provides CIFAR-10"

  /// The directory of the real dataset, unpacked once if necessary.
  private static let real = Result { () throws -> (path: String, scratch: TemporaryDirectory) in
    let scratch = try TemporaryDirectory()
    guard directory == nil else { return (directory ?? "", scratch) }
    let unpacked = try ProcessRun(unpacker, [scratch.path]).run()
    #expect(unpacked.exitCode == 0, "\(unpacked.standardError)")
    return (scratch.path, scratch)
  }

  @Test(.enabled(if: isAvailable, skipReason))
  func theRealDatasetIsRecognized() throws {
    let verification = try DatasetVerification(directory: Self.real.get().path)
    #expect(verification.origin == .official)
    #expect(verification.classCounts.training == [Int](repeating: 5000, count: 10))
    #expect(verification.classCounts.test == [Int](repeating: 1000, count: 10))
  }

  /// The published constants are those of the 50,000 training images, rounded to a digit; std is the population's.
  @Test(.enabled(if: isAvailable, skipReason))
  func publishedConstantsNormalizeTheRealImages() throws {
    let training = try ImageDataset(directory: Self.real.get().path).training
    // Per channel: the sum and the sum of squares, exact in integers.
    var (sums, squares) = ([0, 0, 0], [0, 0, 0])
    for index in 0..<training.count {
      _ = try training.withImage(at: index) { _, image in
        guard case .planes(let planes) = image else { return }
        for i in 0..<3072 {
          let value = Int(planes[i])
          sums[i / 1024] += value
          squares[i / 1024] += value * value
        }
      }
    }
    guard case .meanStd(let mean, let std) = PixelNormalization.cifar10 else { return }
    for c in 0..<3 {
      let count = Double(training.count * 1024)
      let (average, square) = (Double(sums[c]) / count, Double(squares[c]) / count)
      #expect(abs(average - mean[c]) < 0.05)
      #expect(abs((square - average * average).squareRoot() - std[c]) < 0.05)
    }
  }
}
