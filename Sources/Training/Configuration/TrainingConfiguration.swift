import Collectives
import DataParallel
import Datasets
import Models
import Optimizers

/// All settings of a run: the flags of `wrn-dist train`, by the same names.
public struct TrainingConfiguration: Sendable, Hashable {
  /// A set of defaults that belong together.
  public enum Recipe: String, Sendable, Codable, CaseIterable {
    /// Trax's "illustrated WideResNet": raw pixels, Adam at a constant 0.01, a 1,024-slot shuffle queue.
    case trax
  }

  /// The convolution engine.
  public enum Engine: String, Sendable, Codable, CaseIterable {
    /// This project's own kernels; on a CPU that they are not built for, ``blas``.
    case native
    /// im2col and OpenBLAS.
    case blas
  }

  /// The ranks that evaluate.
  public enum EvaluationRanks: String, Sendable, Codable, CaseIterable {
    /// Batches are distributed over all ranks.
    case all
    /// Rank 0 evaluates alone.
    case root
  }

  /// The part of the test set that an evaluation uses.
  public enum EvaluationBatches: Sendable, Hashable {
    /// This many batches from the endless test stream, as Trax does.
    case next(Int)
    /// The whole test set once.
    case all

    /// Parses `20` or `all`; `nil` for anything else.
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

  /// The set of defaults that the other settings start from.
  public var recipe = Recipe.trax
  /// The network's nominal depth, 6·n + 4.
  public var depth = 22
  /// The widen factor k: channels of the first group over 16.
  public var widenFactor = 1
  /// The step after which the run ends.
  public var steps = 5000
  /// B, the images of one step over all ranks.
  public var batchSize = 64
  /// M, the microbatches of one step.
  public var microbatches = 8
  /// `auto`, `synthetic` or a directory.
  public var data = "auto"
  /// The order of training images.
  public var shuffle = ShuffleMode.queue
  /// The run's directory.
  public var outputDirectory = ""
  /// The seed of the initial weights and of the order of images.
  public var seed: UInt64 = 0
  /// The threads of each rank.
  ///
  /// If `nil`, its cores divided by the number of ranks that share them.
  public var threads: Int?
  /// The convolution engine.
  public var engine = Engine.native
  /// The bytes of a gradient bucket; affects speed alone.
  public var bucketByteCount = BucketPlan.defaultByteCount
  /// The thread that progresses messages while a rank computes; affects speed alone.
  public var progress = ProgressMode.poll
  /// The format of partial sums of gradients between ranks; affects the results of any number of ranks, even one.
  public var wire = WireFormat.fp32
  /// Which ranks keep the optimizer's states; affects speed and memory alone.
  public var optimizerState = OptimizerStateMode.sharded
  /// The scope of batch statistics: synchronized batch norm or ghost batch norm.
  public var batchNorm = BatchNormalizationScope.global
  /// The seconds for which ranks wait in vain before the job ends; 0 for any time.
  public var stallTimeout = 300
  /// The steps between evaluations; 0 for none.
  public var evalEvery = 1000
  /// The part of the test set that an evaluation uses.
  public var evalBatches = EvaluationBatches.next(20)
  /// The ranks that evaluate.
  public var evalRanks = EvaluationRanks.all
  /// The statistics that normalize activations in an evaluation.
  public var evalStatistics = NormalizationStatistics.batch
  /// The steps between checkpoints; 0 for one at the end alone.
  public var checkpointEvery = 1000
  /// The number of checkpoints to keep; 0 for all.
  public var keepCheckpoints = 3
  /// A checkpoint or file with the initial weights; `nil` for random ones.
  public var initialWeights: String?
  /// `auto`, `never` or a checkpoint.
  public var resume = "auto"
  /// The update rule and its constants.
  public var optimizer = OptimizerConfiguration()
  /// The constant learning rate.
  public var learningRate = 0.01

  /// Creates Trax's configuration.
  public init() {}

  /// The settings that a checkpoint must share with a run that resumes it: all that affect the parameters.
  public var resumeSettings: [(name: String, value: String)] {
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
      ("optimizer-state", optimizerState.rawValue), ("stall-timeout", String(stallTimeout)),
      ("eval-every", String(evalEvery)), ("eval-batches", evalBatches.text),
      ("eval-ranks", evalRanks.rawValue), ("eval-statistics", evalStatistics.rawValue),
      ("checkpoint-every", String(checkpointEvery)), ("keep-checkpoints", String(keepCheckpoints)),
      ("init", initialWeights), ("resume", resume),
    ]
    return resumeSettings + others.compactMap { name, value in value.map { (name, $0) } }
  }
}

extension TrainingConfiguration {
  /// Divides a batch over the ranks.
  ///
  /// - Parameter communicator: The ranks, this one among them.
  /// - Returns: This rank's share.
  /// - Throws: `MicrobatchPlan.InvalidPlan` or `WorldSizeError` if the batch, or what ``wire`` rounds, cannot be divided.
  public func microbatchPlan(_ communicator: any Communicator) throws -> MicrobatchPlan {
    let plan = try MicrobatchPlan(
      globalBatchSize: batchSize, microbatchCount: microbatches, rank: communicator.rank,
      worldSize: communicator.worldSize)
    try wire.validate(tree: plan.tree, worldSize: communicator.worldSize)
    return plan
  }
}

extension TrainingConfiguration.Engine {
  /// Creates the engine: for ``native`` with the widest instruction set of this CPU, or the one that `WRN_ISA` requests.
  ///
  /// - Parameter environment: The environment of the process.
  /// - Returns: The engine; ``blas`` if the CPU has none of the instruction sets that native kernels are built for.
  /// - Throws: `InstructionSet.Unavailable` if this CPU lacks what `WRN_ISA` requests.
  public func make(environment: [String: String]) throws -> any ConvolutionEngine {
    let instructionSet = try InstructionSet.select(requested: environment["WRN_ISA"])
    guard self == .native, let instructionSet else { return BLASConvolutionEngine() }
    return NativeConvolutionEngine(instructionSet)
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
