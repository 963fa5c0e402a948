import Datasets
import Foundation

extension RunLogger {
  /// Writes the predictions of the last evaluation, in place of those of other weights.
  func record(_ predictions: Predictions) throws {
    try output.write(predictions.json(), to: Predictions.fileName)
  }

  /// Writes the description of the run, with this session.
  ///
  /// - Parameters:
  ///   - session: The start of the program.
  ///   - source: The data set.
  ///   - parameterCount: The number of trained parameters.
  /// - Throws: ``CheckpointError`` if it cannot be written.
  public func describe(
    _ session: RunDescription.Session, source: DataSource, parameterCount: Int
  ) throws {
    let description = RunDescription(
      network: networkName, parameterCount: parameterCount, data: source.description,
      dataDirectory: source.directory.map { URL(fileURLWithPath: $0).standardizedFileURL.path },
      trainingCount: trainingCount, testCount: source.dataset.test.count, classNames: source.dataset.classNames,
      dataDigest: dataDigest ?? dataFingerprint,
      sessions: [session])
    try description.write(to: output)
  }
}
