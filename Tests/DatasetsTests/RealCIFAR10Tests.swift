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

  @Test(
    .enabled(
      if: isAvailable, "skipped, because neither WRN_CIFAR10 nor ../shared/cifar10 provides CIFAR-10"))
  func theRealDatasetIsRecognized() throws {
    let scratch = try TemporaryDirectory()
    if Self.directory == nil {
      let unpacked = try ProcessRun(Self.unpacker, [scratch.path]).run()
      #expect(unpacked.exitCode == 0, "\(unpacked.standardError)")
    }
    let verification = try DatasetVerification(directory: Self.directory ?? scratch.path)
    #expect(verification.origin == .official)
    #expect(verification.classCounts.training == [Int](repeating: 5000, count: 10))
    #expect(verification.classCounts.test == [Int](repeating: 1000, count: 10))
  }
}
