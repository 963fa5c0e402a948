import ArgumentParser
import Collectives
import DataParallel
import Datasets
import Exporting
import Models
import Optimizers
import Training

/// A number of bytes on the command line: `4194304`, `4096KiB` or `4MiB`.
struct ByteCount: ExpressibleByArgument {
  let value: Int

  private static let units = [("GiB", 30), ("MiB", 20), ("KiB", 10), ("B", 0), ("", 0)]

  /// Reads a whole number and a unit; `nil` for anything else.
  init?(argument: String) {
    for (unit, shift) in Self.units where argument.hasSuffix(unit) {
      guard let count = Int(argument.dropLast(unit.count)), count >= 0, count <= Int.max >> 31 else {
        return nil
      }
      value = count << shift
      return
    }
    return nil
  }
}

extension ByteCount {
  /// Returns the value of `--bucket-size`.
  ///
  /// - Throws: ``UsageError`` if buckets cannot have that size.
  func bucketByteCount() throws -> Int {
    guard BucketPlan.byteCounts.contains(value) else {
      throw UsageError("--bucket-size \(value) must lie between 4KiB and 1GiB.")
    }
    return value
  }
}

/// `--widen-factor K`, or `all` factors of the reports in `docs/results`.
struct WidenFactors: ExpressibleByArgument {
  let factors: [Int]

  /// k = 1.
  static let one = WidenFactors(factors: [1])

  private init(factors: [Int]) { self.factors = factors }

  /// Reads a number or `all`; `nil` for anything else.
  init?(argument: String) {
    if argument == "all" {
      factors = [1, 2, 4, 10]
    } else if let factor = Int(argument) {
      factors = [factor]
    } else {
      return nil
    }
  }

  /// The number or `all`.
  var defaultValueDescription: String { factors.count == 1 ? "\(factors[0])" : "all" }
}

/// Numbers separated by commas: `3,1,3`.
struct NumberList: ExpressibleByArgument {
  let numbers: [Int]

  /// Reads at least one whole number; `nil` for anything else.
  init?(argument: String) {
    let fields = argument.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) }
    guard !fields.contains(nil) else { return nil }
    numbers = fields.compactMap { $0 }
  }
}

extension OptimizerName: ExpressibleByArgument {}
extension ScheduleConfiguration.Name: ExpressibleByArgument {}
extension WideResNetConfiguration.Architecture: ExpressibleByArgument {}
extension Initialization.Weights: ExpressibleByArgument {}
extension Initialization.Scale: ExpressibleByArgument {}
extension LastBatch: ExpressibleByArgument {}
extension EvaluatedWeights: ExpressibleByArgument {}
extension NormalizationMode: ExpressibleByArgument {}
extension CropBorder: ExpressibleByArgument {}
extension FlipMode: ExpressibleByArgument {}
extension ResolutionMode: ExpressibleByArgument {}
extension TrainingConfiguration.Recipe: ExpressibleByArgument {}
extension TrainingConfiguration.Engine: ExpressibleByArgument {}
extension TrainingConfiguration.EvaluationRanks: ExpressibleByArgument {}
extension TrainingConfiguration.EvaluationBatches: ExpressibleByArgument {
  /// Reads `20` or `all`.
  public init?(argument: String) { self.init(argument) }
}
extension ProgressMode: ExpressibleByArgument {}
extension SharedCores: ExpressibleByArgument {}
extension OptimizerStateMode: ExpressibleByArgument {}
extension CheckpointMode: ExpressibleByArgument {}
extension NonfinitePolicy: ExpressibleByArgument {}
extension WireFormat: ExpressibleByArgument {}
extension BatchNormalizationScope: ExpressibleByArgument {}
extension NormalizationStatistics: ExpressibleByArgument {}
extension ShuffleMode: ExpressibleByArgument {}
extension DatasetKind: ExpressibleByArgument {}
extension ONNXModel.Input: ExpressibleByArgument {}
extension LogFormat: ExpressibleByArgument {}
