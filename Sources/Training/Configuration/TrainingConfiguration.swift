import Collectives
import DataParallel
import Datasets
import Models
import Optimizers

/// Everything that decides what a run computes and how: the flags of `wrn-dist train`, by the same names.
public struct TrainingConfiguration: Sendable, Hashable {
  /// A set of defaults that belong together.
  public enum Recipe: String, Sendable, Codable, CaseIterable {
    /// Trax's "illustrated WideResNet": raw pixels, Adam at a constant 0.01, a 1,024-slot shuffle queue.
    case trax
  }

  /// Which convolution engine computes.
  public enum Engine: String, Sendable, Codable, CaseIterable {
    /// This project's own kernels; on a CPU that they are not built for, ``blas``.
    case native
    /// im2col and OpenBLAS.
    case blas
  }

  /// Which ranks evaluate.
  public enum EvaluationRanks: String, Sendable, Codable, CaseIterable {
    /// Batches are dealt out to all ranks.
    case all
    /// Rank 0 evaluates alone.
    case root
  }

  /// How much of the test set an evaluation takes.
  public enum EvaluationBatches: Sendable, Hashable {
    /// The next so many batches of the endless test stream, as Trax does.
    case next(Int)
    /// The whole test set once.
    case all

    /// Reads `20` or `all`; nil for anything else.
    public init?(_ text: String) {
      if text == "all" {
        self = .all
      } else if let count = Int(text), count > 0 {
        self = .next(count)
      } else {
        return nil
      }
    }

    /// `20` or `all`.
    public var text: String {
      switch self {
      case .next(let count): String(count)
      case .all: "all"
      }
    }
  }

  /// The set of defaults that the others started from.
  public var recipe = Recipe.trax
  /// The network's nominal depth, 6·n + 4.
  public var depth = 22
  /// k.
  public var widenFactor = 1
  /// The step after which the run ends.
  public var steps = 5000
  /// B, the images of one step over all ranks.
  public var batchSize = 64
  /// M, the microbatches of one step.
  public var microbatches = 8
  /// `auto`, `synthetic` or a folder.
  public var data = "auto"
  /// The order of training images.
  public var shuffle = ShuffleMode.queue
  /// Where results go.
  public var outputDirectory = ""
  /// Decides initial weights and the order of images.
  public var seed: UInt64 = 0
  /// Worker threads of each rank; nil: the cores it may use, divided among the ranks that share them.
  public var threads: Int?
  /// What computes convolutions.
  public var engine = Engine.native
  /// The bytes of a gradient bucket; changes speed alone.
  public var bucketByteCount = BucketPlan.defaultByteCount
  /// Who moves messages on while a rank computes; changes speed alone.
  public var progress = ProgressMode.poll
  /// In what form partial sums of gradients travel between ranks; decides the bits even of a single rank.
  public var wire = WireFormat.fp32
  /// Who keeps the optimizer's moments; changes speed and memory alone.
  public var optimizerState = OptimizerStateMode.sharded
  /// How batch statistics are formed.
  public var batchNorm = BatchNormalizationScope.global
  /// Steps between evaluations; 0: never.
  public var evalEvery = 1000
  /// How much of the test set an evaluation takes.
  public var evalBatches = EvaluationBatches.next(20)
  /// Which ranks evaluate.
  public var evalRanks = EvaluationRanks.all
  /// What normalises activations in an evaluation.
  public var evalStatistics = NormalizationStatistics.batch
  /// Steps between checkpoints; 0: only at the end.
  public var checkpointEvery = 1000
  /// The checkpoints kept.
  public var keepCheckpoints = 3
  /// A checkpoint or file whose weights the run starts from; nil: random ones.
  public var initialWeights: String?
  /// `auto`, `never` or a checkpoint.
  public var resume = "auto"
  /// The update rule and its constants.
  public var optimizer = OptimizerConfiguration()
  /// The learning rate, constant.
  public var learningRate = 0.01

  /// Makes Trax's configuration.
  public init() {}

  /// What a checkpoint must agree on to be resumed: everything that decides the bits of the parameters.
  public var identity: [(name: String, value: String)] {
    [
      ("recipe", recipe.rawValue), ("depth", String(depth)), ("widen-factor", String(widenFactor)),
      ("batch-size", String(batchSize)), ("microbatches", String(microbatches)),
      ("shuffle", shuffle.rawValue), ("seed", String(seed)), ("batch-norm", batchNorm.rawValue),
      ("wire", wire.rawValue),
      ("optimizer", optimizer.name), ("learning-rate", String(learningRate)),
      ("beta1", String(optimizer.beta1)), ("beta2", String(optimizer.beta2)),
      ("epsilon", String(optimizer.epsilon)), ("weight-decay", String(optimizer.weightDecay)),
    ]
  }

  /// Every setting under its flag's name, in the order of `--help`.
  public var settings: [(name: String, value: String)] {
    let others: [(String, String?)] = [
      ("steps", String(steps)), ("data", data), ("output-dir", outputDirectory),
      ("threads", threads.map(String.init)), ("engine", engine.rawValue),
      ("bucket-size", String(bucketByteCount)), ("progress", progress.rawValue),
      ("optimizer-state", optimizerState.rawValue),
      ("eval-every", String(evalEvery)), ("eval-batches", evalBatches.text),
      ("eval-ranks", evalRanks.rawValue), ("eval-statistics", evalStatistics.rawValue),
      ("checkpoint-every", String(checkpointEvery)), ("keep-checkpoints", String(keepCheckpoints)),
      ("init", initialWeights), ("resume", resume),
    ]
    return identity + others.compactMap { name, value in value.map { (name, $0) } }
  }
}

extension TrainingConfiguration {
  /// Divides a batch among ranks.
  ///
  /// - Parameter communicator: The ranks, this one among them.
  /// - Returns: This rank's part.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch, or what ``wire`` rounds, cannot be divided.
  public func microbatchPlan(_ communicator: any Communicator) throws -> MicrobatchPlan {
    let plan = try MicrobatchPlan(
      globalBatchSize: batchSize, microbatchCount: microbatches, rank: communicator.rank,
      worldSize: communicator.worldSize)
    try wire.validate(tree: plan.tree, worldSize: communicator.worldSize)
    return plan
  }
}

extension TrainingConfiguration {
  /// Builds the network that is trained.
  ///
  /// - Throws: `InvalidModel` if there is no such network.
  public func modelGraph() throws -> ModelGraph {
    TraxWideResNet.graph(try WideResNetConfiguration(depth: depth, widenFactor: widenFactor))
  }
}
