import Datasets
import Foundation
import TestSupport
import Testing

/// The real data set, where there is one: `WRN_CIFAR10` names its folder, or `../shared/cifar10/unpack` lays it out.
@Suite struct RealCIFAR10Tests {
  private static let named = ProcessInfo.processInfo.environment["WRN_CIFAR10"]
  private static let unpacker = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    .deletingLastPathComponent().appendingPathComponent("shared/cifar10/unpack").path
  private static let isThere =
    named != nil || FileManager.default.isExecutableFile(atPath: unpacker)

  @Test(
    .enabled(
      if: isThere, "skipped, because neither WRN_CIFAR10 nor ../shared/cifar10 offers CIFAR-10"))
  func theRealSetIsRecognised() throws {
    let scratch = try TemporaryDirectory()
    if Self.named == nil {
      let unpacked = try ProcessRun(Self.unpacker, [scratch.path]).run()
      #expect(unpacked.exitCode == 0, "\(unpacked.standardError)")
    }
    let verification = try DatasetVerification(directory: Self.named ?? scratch.path)
    #expect(verification.origin == .official)
    #expect(verification.classCounts.training == [Int](repeating: 5000, count: 10))
    #expect(verification.classCounts.test == [Int](repeating: 1000, count: 10))
  }
}
