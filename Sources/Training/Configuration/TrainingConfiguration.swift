import Collectives
import DataParallel
import Datasets
import Models
import Optimizers

/// All settings of a run: the flags of `wrn-dist train`, by the same names.
public struct TrainingConfiguration: Sendable, Hashable {
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
  /// The family of networks.
  public var architecture = WideResNetConfiguration.Architecture.trax
  /// The network's nominal depth, 6·n + 4.
  public var depth = 22
  /// The widen factor k: channels of the first group over 16.
  public var widenFactor = 1
  /// The kernel sizes of a block's convolutions.
  public var block = [3, 3]
  /// The probability that an element is dropped before a block's last convolution.
  public var dropout = 0.0
  /// The distributions of the initial values.
  public var initialization = Initialization()
  /// The step after which the run ends; if ``epochs`` is set, the trainer's caller computes it from the data set.
  public var steps = 5000
  /// The epochs after which the run ends.
  ///
  /// If `nil`, ``steps`` decides.
  public var epochs: Int?
  /// B, the images of one step over all ranks.
  public var batchSize = 64
  /// M, the microbatches of one step.
  public var microbatches = 8
  /// The images and their classes.
  public var dataset = DatasetKind.cifar10
  /// `auto`, `synthetic` or a directory.
  public var data = "auto"
  /// The order of training images.
  public var shuffle = ShuffleMode.queue
  /// The treatment of the images at an epoch's end that fill no whole batch.
  public var lastBatch = LastBatch.carry
  /// The training images that are held out, for choosing settings and checkpoints.
  public var validation = 0
  /// The map from raw pixels to the network's input.
  public var normalize = NormalizationMode.none
  /// The random changes to training images.
  public var augmentation = Augmentation()
  /// The size of training images over the run.
  public var resolution = ResolutionSchedule.full
  /// How smaller images are made.
  public var resolutionMode = ResolutionMode.resize
  /// The run's directory.
  public var outputDirectory = ""
  /// The seed of the initial weights and of the order of images.
  public var seed: UInt64 = 0
  /// The threads of each rank.
  ///
  /// If `nil`, its cores divided by the number of ranks that share them.
  public var threads: Int?
  /// What ranks do that share a core; affects speed alone.
  public var sharedCores = SharedCores.join
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
  /// What the run does about a step whose numbers are not finite.
  public var onNonfinite = NonfinitePolicy.stop
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
  /// Whether an evaluation also averages the logits of every image and its mirror image.
  public var testFlip = false
  /// The steps between checkpoints; 0 for one at the end alone.
  public var checkpointEvery = 1000
  /// Whether training waits while a checkpoint is written; affects speed and rank 0's memory alone.
  public var checkpointMode = CheckpointMode.async
  /// The number of checkpoints to keep; 0 for all.
  public var keepCheckpoints = 3
  /// Checkpoints whose steps are multiples are kept as well; 0 for none.
  public var keepEvery = 0
  /// Whether the checkpoint with the best accuracy on the held-out images is kept, too.
  public var keepsBest = false
  /// A checkpoint or file with the initial weights; `nil` for random ones.
  public var initialWeights: String?
  /// `auto`, `never` or a checkpoint.
  public var resume = "auto"
  /// The update rule and its constants.
  public var optimizer = OptimizerConfiguration()
  /// The peak of the learning rate.
  public var learningRate = 0.01
  /// The learning rate as a function of the step.
  public var schedule = ScheduleConfiguration()
  /// The part of the loss's target that all classes share, in [0, 1).
  public var labelSmoothing = 0.0

  /// Creates Trax's configuration.
  public init() {}
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
  /// The family and size of the network.
  ///
  /// - Throws: `InvalidModel` if there is no such network.
  public func modelConfiguration() throws -> WideResNetConfiguration {
    try WideResNetConfiguration(
      architecture: architecture, depth: depth, widenFactor: widenFactor, block: block, dropout: dropout,
      classCount: dataset.classCount)
  }

  /// Builds the network that is trained, at the size of the data set's images.
  ///
  /// - Throws: `InvalidModel` if there is no such network.
  public func modelGraph() throws -> ModelGraph { try modelConfiguration().graph() }

  /// Builds the network at the other sizes of training images.
  ///
  /// - Throws: `InvalidModel` if there is no such network.
  public func otherSizes() throws -> [ModelGraph] {
    let model = try modelConfiguration()
    return resolution.sizes.filter { $0 != ResolutionSchedule.fullSize }.map { model.graph(imageSize: $0) }
  }

  /// Whether evaluations or checkpoints need running statistics that training has not collected.
  var estimatesStatistics: Bool { optimizer.averageDecay > 0 || resolution != .full }

  /// The normalization by published constants, or none; a whitening is fitted to the training images instead.
  public var publishedNormalization: PixelNormalization {
    switch (normalize, dataset) {
    case (.meanStd, .cifar10): .cifar10
    case (.meanStd, .cifar100): .cifar100
    case (.none, _), (.zca, _): .none
    }
  }

  /// The positions of batches in the order of training images.
  ///
  /// - Parameter trainingCount: The training images that are not held out.
  /// - Returns: The mapping from steps to positions.
  public func epochMapping(trainingCount: Int) -> EpochMapping {
    // Trax takes one batch of its shuffled stream before the first step (trax/supervised/training.py).
    EpochMapping(
      count: trainingCount, batchSize: batchSize, lastBatch: lastBatch, skippedBatches: shuffle == .queue ? 1 : 0)
  }

  /// The learning rate of every step.
  ///
  /// - Parameter trainingCount: The training images that are not held out.
  /// - Returns: The schedule.
  /// - Throws: `InvalidSchedule` if the schedule does not fit the length of the run.
  public func learningRateSchedule(trainingCount: Int) throws -> LearningRateSchedule {
    let stepsPerEpoch = epochMapping(trainingCount: trainingCount).stepsPerEpoch
    let shape = schedule.shape(epochs: Double(steps) / stepsPerEpoch)
    try shape.validate(stepsPerEpoch: stepsPerEpoch, totalSteps: steps)
    return LearningRateSchedule(
      peak: learningRate, shape: shape, warmupEpochs: schedule.warmupEpochs, stepsPerEpoch: stepsPerEpoch,
      totalSteps: steps)
  }
}
