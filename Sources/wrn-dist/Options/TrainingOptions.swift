import ArgumentParser
import Collectives
import Datasets
import Models
import Training

/// The flags of `wrn-dist train`, all optional: what is not given comes from `--config` or the recipe.
struct TrainingOptions: ParsableArguments {
  @Option(help: "A YAML file that sets any of these flags; flags given here win.")
  var config: String?

  @OptionGroup(title: "Network") var network: NetworkOptions
  @OptionGroup(title: "Batches and length") var length: LengthOptions
  @OptionGroup(title: "Data") var input: DataOptions
  @OptionGroup(title: "Optimizer") var update: OptimizerOptions
  @OptionGroup(title: "Machine") var machine: MachineOptions
  @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions
  @OptionGroup(title: "Output and checkpoints") var output: OutputOptions

  struct NetworkOptions: ParsableArguments {
    @Option(help: "Defaults that belong together. (default: trax)")
    var recipe: TrainingConfiguration.Recipe?
    @Option(help: "Nominal depth, 6·n + 4. (default: 22)") var depth: Int?
    @Option(help: "k: the groups are 16k, 32k and 64k wide. (default: 1)") var widenFactor: Int?
    @Option(help: "Batch statistics over the global batch or each microbatch. (default: global)")
    var batchNorm: BatchNormalizationScope?
  }

  struct LengthOptions: ParsableArguments {
    @Option(help: "Steps of the whole run. (default: 5000)") var steps: Int?
    @Option(help: "The run's length in passes over the training set, instead of --steps.")
    var epochs: Int?
    @Option(help: "Images of one step over all ranks. (default: 64)") var batchSize: Int?
    @Option(help: "Equal parts of a batch; at least one a rank. (default: 8)")
    var microbatches: Int?
    @Option(help: "Decides initial weights and the order of images. (default: 0)") var seed: UInt64?
  }

  struct DataOptions: ParsableArguments {
    @Option(
      help: """
        auto ($CIFAR10_DIR, then data/cifar-10-batches-bin, else synthetic), synthetic, or a folder \
        in CIFAR-10's binary layout. (default: auto)
        """) var data: String?
    @Option(help: "Order of training images: queue (Trax's), epoch or none. (default: queue)")
    var shuffle: ShuffleMode?
  }

  struct OptimizerOptions: ParsableArguments {
    @Option(help: "The update rule: adam. (default: adam)") var optimizer: OptimizerName?
    @Option(help: "Constant learning rate. (default: 0.01)") var learningRate: Double?
    @Option(help: "Adam's decay of the mean gradient. (default: 0.9)") var beta1: Double?
    @Option(help: "Adam's decay of the mean square. (default: 0.999)") var beta2: Double?
    @Option(help: "Adam's term beside the root. (default: 1e-05)") var epsilon: Double?
    @Option(help: "Decay of every weight a step, apart from the rate. (default: 1e-05)")
    var weightDecay: Double?
  }

  struct MachineOptions: ParsableArguments {
    @Option(help: "Threads of each rank. (default: the cores it may use / the ranks sharing them)")
    var threads: Int?
    @Option(help: "What computes convolutions: native or blas. (default: native)")
    var engine: TrainingConfiguration.Engine?
    @Option(
      help: "Bytes of gradients exchanged at once, such as 512KiB or 4MiB; changes no bits. (default: 4MiB)")
    var bucketSize: ByteCount?
    @Option(
      help: """
        Who moves messages on while a rank computes: poll (the computing thread) or thread (one of its own, for \
        hosts with a core to spare); changes no bits. (default: poll)
        """) var progress: ProgressMode?
    @Option(
      help: """
        Adam's moments on every rank (replicated) or divided among the ranks (sharded: less memory, less work); \
        changes no bits. (default: sharded)
        """) var optimizerState: OptimizerStateMode?
    @Option(
      help: """
        Partial sums of gradients travel between ranks as they are (fp32), or those of at most eight parts of the batch \
        rounded once (bf16: other bits, the same ones for every number of ranks). (default: fp32)
        """) var wire: WireFormat?
  }

  struct EvaluationOptions: ParsableArguments {
    @Option(help: "Steps between evaluations, 0: never. (default: 1000)") var evalEvery: Int?
    @Option(help: "Test batches of an evaluation, or all. (default: 20)")
    var evalBatches: TrainingConfiguration.EvaluationBatches?
    @Option(help: "Who evaluates: all ranks or the root. (default: all)")
    var evalRanks: TrainingConfiguration.EvaluationRanks?
    @Option(help: "Normalise by the batch's own or the running statistics. (default: batch)")
    var evalStatistics: NormalizationStatistics?
  }

  struct OutputOptions: ParsableArguments {
    @Option(help: "Where results go. (default: runs/DATE-TIME-NETWORK)") var outputDir: String?
    @Option(help: "Steps between checkpoints, 0: only at the end. (default: 1000)")
    var checkpointEvery: Int?
    @Option(help: "Checkpoints kept, 0: all. (default: 3)") var keepCheckpoints: Int?
    @Option(help: "Start from the weights of a checkpoint or .safetensors file.") var `init`: String?
    @Option(
      help: "auto (go on if the output folder holds a run), never, or a checkpoint. (default: auto)")
    var resume: String?
    @Option(help: "Write what every thread of every rank did when to this file; Perfetto opens it.")
    var trace: String?
  }
}

/// The update rules on the command line.
enum OptimizerName: String, ExpressibleByArgument, CaseIterable {
  /// Adam with decoupled weight decay.
  case adam
}

extension TrainingConfiguration.Recipe: ExpressibleByArgument {}
extension TrainingConfiguration.Engine: ExpressibleByArgument {}
extension TrainingConfiguration.EvaluationRanks: ExpressibleByArgument {}
extension TrainingConfiguration.EvaluationBatches: ExpressibleByArgument {
  /// Reads `20` or `all`.
  public init?(argument: String) { self.init(argument) }
}
extension ProgressMode: ExpressibleByArgument {}
extension OptimizerStateMode: ExpressibleByArgument {}
extension WireFormat: ExpressibleByArgument {}
extension BatchNormalizationScope: ExpressibleByArgument {}
extension NormalizationStatistics: ExpressibleByArgument {}
extension ShuffleMode: ExpressibleByArgument {}
