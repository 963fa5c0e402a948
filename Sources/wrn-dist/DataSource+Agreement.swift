import Collectives
import DataParallel
import Datasets

extension DataSource {
  /// Refuses ranks that see different images: a host without the real set would take the synthetic one.
  ///
  /// Every rank calls it.
  ///
  /// - Returns: The data set's fingerprint.
  /// - Throws: `LayoutDigest.Mismatch` on every rank if two differ, `AgreedFailure` if one meets a bad record,
  ///   `CommunicationError` if the exchange fails.
  func agreedFingerprint(on communicator: any Communicator) throws -> String {
    let fingerprint = try Ranks.together(communicator) { try dataset.fingerprint() }
    var digest = LayoutDigest()
    digest.combine(fingerprint)
    try digest.requireEqual("the training or test set", on: communicator)
    return fingerprint
  }
}
