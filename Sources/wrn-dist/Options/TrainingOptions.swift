import ArgumentParser
import Collectives
import Datasets
import Models
import Optimizers
import Training

/// The flags of `wrn-dist train`; those that are not set come from variables, `--config` or the recipe.
struct TrainingOptions: ParsableArguments {
  @Option(
    help: """
      A YAML file that sets any of these flags; flags override it, and so do variables such as WRN_LEARNING_RATE.
      """)
  var config: String?

  @OptionGroup(title: "Network") var network: NetworkOptions
  @OptionGroup(title: "Batches and length") var length: LengthOptions
  @OptionGroup(title: "Data") var input: DataOptions
  @OptionGroup(title: "Augmentation of training images") var augmentation: AugmentationOptions
  @OptionGroup(title: "Optimizer") var update: OptimizerOptions
  @OptionGroup(title: "Learning rate and loss") var rate: LearningRateOptions
  @OptionGroup(title: "Machine") var machine: MachineOptions
  @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions
  @OptionGroup(title: "Output and checkpoints") var output: OutputOptions

  struct NetworkOptions: ParsableArguments {
    @Option(
      help: """
        A set of defaults, which other flags override: trax, paper (WRN-28-10, 200 epochs of SGD) or fast (WRN-16-4, 28 \
        epochs). Defaults below are those of trax; config.yaml shows those of a run. (default: trax)
        """)
    var recipe: TrainingConfiguration.Recipe?
    @Option(help: "Family: trax, or wrn (the paper's: pre-activation, one skip per block). (default: trax)")
    var architecture: WideResNetConfiguration.Architecture?
    @Option(help: "Nominal depth, 6n + 4 with n blocks per group. (default: 22)") var depth: Int?
    @Option(help: "n, instead of --depth.") var blocksPerGroup: Int?
    @Option(help: "Widen factor k: the groups have 16k, 32k and 64k channels. (default: 1)") var widenFactor: Int?
    @Option(help: "Kernel sizes of a block's convolutions, one to four of 1 and 3. (default: 3,3)")
    var block: NumberList?
    @Option(help: "Probability of dropout before the last convolution of each block. (default: 0)")
    var dropout: Double?
    @Option(help: "Initial weights: trax, fan-in (the paper's) or fan-out. (default: trax)")
    var initialization: Initialization.Weights?
    @Option(help: "Initial scales of batch norms: one, or uniform over [0, 1). (default: one)")
    var scaleInitialization: Initialization.Scale?
    @Option(help: "\(HelpText.batchNorm) (default: global)")
    var batchNorm: BatchNormalizationScope?
  }

  struct LengthOptions: ParsableArguments {
    @Option(help: "Steps of the whole run. (default: 5000)") var steps: Int?
    @Option(help: "Epochs of the whole run, instead of --steps.")
    var epochs: Int?
    @Option(help: "\(HelpText.batchSize) (default: 64)") var batchSize: Int?
    @Option(help: "\(HelpText.microbatches), at least one per rank. (default: 8)")
    var microbatches: Int?
    @Option(help: "Seed of the initial weights and the order of images. (default: 0)") var seed: UInt64?
  }

  struct DataOptions: ParsableArguments {
    @Option(help: "cifar10, or cifar100 with its 100 fine classes. (default: cifar10)") var dataset: DatasetKind?
    @Option(
      help: """
        auto ($CIFAR10_DIR, then data/cifar-10-batches-bin, else synthetic), synthetic, or a directory \
        in the data set's binary format. (default: auto)
        """) var data: String?
    @Option(help: "Order of training images: queue (Trax's), epoch or none. (default: queue)")
    var shuffle: ShuffleMode?
    @Option(help: "Images at an epoch's end that fill no batch: carry over, or drop. (default: carry)")
    var lastBatch: LastBatch?
    @Option(
      help: """
        Training images held out for choosing; with them the test set is evaluated after the last step only. (default: 0)
        """) var validation: Int?
    @Option(help: "Pixels: none (raw, 0 to 255), mean-std (published constants) or zca. (default: none)")
    var normalize: NormalizationMode?
  }

  struct AugmentationOptions: ParsableArguments {
    @Option(help: "Pixels added at each border before a random crop. (default: 0)") var cropPadding: Int?
    @Option(help: "Content of these pixels: reflect or zero. (default: reflect)") var cropBorder: CropBorder?
    @Option(help: "Horizontal flip: none, random or alternating. (default: none)") var flip: FlipMode?
    @Option(help: "Side of a square of zeros at a random place. (default: 0)") var cutout: Int?
    @Option(
      help: """
        Size of training images, or sizes with the shares of the run at which they begin: 16@0,24@0.5,32@0.8. (default: 32)
        """) var resolution: String?
    @Option(help: "Smaller images by resize (mean over areas) or crop. (default: resize)")
    var resolutionMode: ResolutionMode?
  }

  struct OptimizerOptions: ParsableArguments {
    @Option(help: "The update rule: adam or sgd. (default: adam)") var optimizer: OptimizerName?
    @Option(help: "SGD's factor of the previous direction. (default: 0.9)") var momentum: Double?
    @Flag(inversion: .prefixedNo, help: "Nesterov momentum of SGD. (default: --nesterov)") var nesterov: Bool?
    @Option(help: "Adam's decay of the first moment. (default: 0.9)") var beta1: Double?
    @Option(help: "Adam's decay of the second moment. (default: 0.999)") var beta2: Double?
    @Option(help: "Adam's term added to the root of the second moment. (default: 1e-05)") var epsilon: Double?
    @Option(
      help: """
        Weight decay. Adam: decoupled, per step, independent of the learning rate. SGD: times the weight, added to the \
        gradient. (default: 1e-05)
        """) var weightDecay: Double?
    @Flag(
      inversion: .prefixedNo,
      help: "Weight decay of biases, and of batch norms' scales and shifts. (default: --decay-biases)")
    var decayBiases: Bool?
    @Option(help: "Factor of the learning rate of biases and batch norms' shifts. (default: 1)")
    var biasLearningRateFactor: Double?
    @Option(help: "Largest norm of the gradient, which is scaled down to it; 0 for none. (default: 0)")
    var clipNorm: Double?
    @Option(help: "Decay of an average of the weights, evaluated and saved beside them; 0 for none. (default: 0)")
    var averageDecay: Double?
    @Option(help: "Steps between averagings. (default: 1)") var averageEvery: Int?
  }

  struct LearningRateOptions: ParsableArguments {
    @Option(help: "Peak of the learning rate. (default: 0.01)") var learningRate: Double?
    @Option(help: "Its course: constant, steps, cosine, one-cycle or points. (default: constant)")
    var schedule: ScheduleConfiguration.Name?
    @Option(help: "Epochs after which the schedule steps lowers the rate. (default: 60,120,160)")
    var milestones: String?
    @Option(help: "Factor of the rate at each milestone. (default: 0.2)") var decayFactor: Double?
    @Option(
      help: """
        Epochs and factors of the peak for the schedule points, with straight lines between: 0:0,5:1,24:0; or triangle, \
        from 0.2 to 1 in the first 22 % of the run, then to 0. (default: triangle)
        """) var schedulePoints: String?
    @Option(help: "Epochs of linear warm-up. (default: 0)") var warmupEpochs: Double?
    @Option(help: "Part of the target that all classes share, in [0, 1). (default: 0)") var labelSmoothing: Double?
  }

  struct MachineOptions: ParsableArguments {
    @Option(help: "\(HelpText.threads)")
    var threads: Int?
    @Option(help: "\(HelpText.sharedCores); does not affect results. (default: join)") var sharedCores: SharedCores?
    @Option(help: "\(HelpText.engine): native or blas. (default: native)")
    var engine: TrainingConfiguration.Engine?
    @Option(help: "\(HelpText.bucketSize); does not affect results. (default: 4MiB)")
    var bucketSize: ByteCount?
    @Option(help: "\(HelpText.progress); does not affect results. (default: poll)") var progress: ProgressMode?
    @Option(help: "\(HelpText.optimizerState); does not affect results. (default: sharded)")
    var optimizerState: OptimizerStateMode?
    @Option(
      help: """
        Wire format of partial gradient sums: fp32, or bf16, which rounds the sums of at most eight parts of the batch \
        once. bf16 gives other results, bitwise identical for every number of ranks. (default: fp32)
        """) var wire: WireFormat?
    @Option(
      help: """
        A step whose loss or gradient is not finite: stop ends the run, skip leaves out its update, rollback returns to \
        the newest checkpoint and leaves it out then, with the same result. (default: stop)
        """)
    var onNonfinite: NonfinitePolicy?
    @Option(help: "Seconds until the job ends if ranks wait in vain for another; 0 means never. (default: 300)")
    var stallTimeout: Int?
  }

  struct EvaluationOptions: ParsableArguments {
    @Option(help: "Steps between evaluations; 0 means never. (default: 1000)") var evalEvery: Int?
    @Option(help: "Test batches per evaluation, or all. (default: 20)")
    var evalBatches: TrainingConfiguration.EvaluationBatches?
    @Option(help: "\(HelpText.evaluationRanks) (default: all)")
    var evalRanks: TrainingConfiguration.EvaluationRanks?
    @Option(help: "\(HelpText.evaluationStatistics) (default: batch)")
    var evalStatistics: NormalizationStatistics?
    @Flag(inversion: .prefixedNo, help: "\(HelpText.testFlip) (default: --no-test-flip)")
    var testFlip: Bool?
  }

  struct OutputOptions: ParsableArguments {
    @Option(help: "Output directory. (default: runs/DATE-TIME-MODEL)") var outputDir: String?
    @Option(help: "Steps between checkpoints; 0 means only at the end. (default: 1000)")
    var checkpointEvery: Int?
    @Option(
      help: """
        Write checkpoints while training continues, from a copy in rank 0's memory (async), or while it waits (sync); does \
        not affect results. (default: async)
        """)
    var checkpointMode: CheckpointMode?
    @Option(help: "Number of latest checkpoints to keep; 0 means all. (default: 3)") var keepCheckpoints: Int?
    @Option(help: "Also keep the checkpoints whose steps are multiples of this; 0 means none. (default: 0)")
    var keepEvery: Int?
    @Flag(
      inversion: .prefixedNo,
      help: "Keep the checkpoint with the best accuracy on the held-out images, too. (default: --no-keep-best)")
    var keepBest: Bool?
    @Option(help: "Start from the weights of a checkpoint or .safetensors file.") var `init`: String?
    @Option(help: "auto (resume the output directory's run, if any), never, or a checkpoint. (default: auto)")
    var resume: String?
    @Option(help: "Standard output: text, or json with one object per event. (default: text)")
    var logFormat: LogFormat?
    @Flag(
      inversion: .prefixedNo,
      help: "Write metrics.csv, the table of metrics.jsonl, too. (default: --no-metrics-csv)")
    var metricsCsv: Bool?
    @Option(help: "Keep gauges of the run in this file, for Prometheus's node exporter.")
    var prometheusTextfile: String?
    @Option(help: "Write a trace of all threads of all ranks to this file, for Perfetto.")
    var trace: String?
  }
}
