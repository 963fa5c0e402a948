import Collectives
import DataParallel
import Datasets
import Foundation
import Training

/// What all ranks of a run must have alike before the first step.
enum RunAgreement {
  /// Refuses ranks that run different builds of the program.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `SettingsAgreement.Difference` on every rank (exit code 70); `CommunicationError` if the exchange fails.
  static func requireEqualPrograms(on communicator: any Communicator) throws {
    var program = [(name: "version of wrn-dist", value: WRNDist.configuration.version)]
    // The kernel's name for the running file, which stays right when the path is another one on each host.
    if let data = try? Data(contentsOf: URL(fileURLWithPath: "/proc/self/exe"), options: .alwaysMapped) {
      var digest = LayoutDigest()
      data.withUnsafeBytes { digest.combine($0) }
      program.append((name: "build of wrn-dist", value: String(digest.value, radix: 16)))
    }
    try SettingsAgreement.requireEqual(program, .program, on: communicator)
  }

  /// Refuses ranks that were started with different flags.
  ///
  /// Every rank calls it.
  ///
  /// - Throws: `SettingsAgreement.Difference` on every rank (exit code 64); `CommunicationError` if the exchange fails.
  static func requireEqualFlags(
    _ configuration: TrainingConfiguration, _ options: TrainingOptions, on communicator: any Communicator
  ) throws {
    // Folders may have other names on other hosts; threads, and who moves messages on, are each rank's own affair.
    let free: Set = ["data", "output-dir", "threads", "progress", "init", "resume"]
    var flags = configuration.settings.filter { !free.contains($0.name) }
    if let epochs = options.length.epochs { flags.append((name: "epochs", value: String(epochs))) }
    // A trace is gathered from all ranks, or from none.
    flags.append((name: "trace", value: options.output.trace ?? "not set"))
    try SettingsAgreement.requireEqual(flags, .flags, on: communicator)
  }
}

extension DataSource {
  /// Refuses ranks that see different images: a host without the real set would take the synthetic one.
  ///
  /// Every rank calls it.
  ///
  /// - Returns: The data set's fingerprint.
  /// - Throws: `SettingsAgreement.Difference` on every rank if two differ (exit code 65), `AgreedFailure` if one meets a bad
  ///   record, `CommunicationError` if the exchange fails.
  func agreedFingerprint(on communicator: any Communicator) throws -> String {
    let fingerprint = try Ranks.together(communicator) { try dataset.fingerprint() }
    // Alone there is nobody to differ from, and no reason to hash the whole set before the first step.
    if communicator.worldSize > 1 {
      try SettingsAgreement.requireEqual(dataset.manifest(), .data, on: communicator)
    }
    return fingerprint
  }
}
