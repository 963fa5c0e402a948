import ArgumentParser
import Collectives
import Datasets
import Models
import Training

/// The flags of `wrn-dist train`; those that are not set come from `--config` or the recipe.
struct TrainingOptions: ParsableArguments {
  @Option(help: "A YAML file that sets any of these flags; flags override it.")
  var config: String?

  @OptionGroup(title: "Network") var network: NetworkOptions
  @OptionGroup(title: "Batches and length") var length: LengthOptions
  @OptionGroup(title: "Data") var input: DataOptions
  @OptionGroup(title: "Optimizer") var update: OptimizerOptions
  @OptionGroup(title: "Machine") var machine: MachineOptions
  @OptionGroup(title: "Evaluation") var evaluation: EvaluationOptions
  @OptionGroup(title: "Output and checkpoints") var output: OutputOptions

  struct NetworkOptions: ParsableArguments {
    @Option(help: "A set of defaults. (default: trax)")
    var recipe: TrainingConfiguration.Recipe?
    @Option(help: "Nominal depth, 6n + 4. (default: 22)") var depth: Int?
    @Option(help: "Widen factor k: the groups have 16k, 32k and 64k channels. (default: 1)") var widenFactor: Int?
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
    @Option(
      help: """
        auto ($CIFAR10_DIR, then data/cifar-10-batches-bin, else synthetic), synthetic, or a directory \
        in CIFAR-10's binary format. (default: auto)
        """) var data: String?
    @Option(help: "Order of training images: queue (Trax's), epoch or none. (default: queue)")
    var shuffle: ShuffleMode?
  }

  struct OptimizerOptions: ParsableArguments {
    @Option(help: "The update rule: adam. (default: adam)") var optimizer: OptimizerName?
    @Option(help: "Constant learning rate. (default: 0.01)") var learningRate: Double?
    @Option(help: "Adam's decay of the first moment. (default: 0.9)") var beta1: Double?
    @Option(help: "Adam's decay of the second moment. (default: 0.999)") var beta2: Double?
    @Option(help: "Adam's term added to the root of the second moment. (default: 1e-05)") var epsilon: Double?
    @Option(help: "Decoupled weight decay per step, independent of the learning rate. (default: 1e-05)")
    var weightDecay: Double?
  }

  struct MachineOptions: ParsableArguments {
    @Option(help: "\(HelpText.threads)")
    var threads: Int?
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
  }

  struct OutputOptions: ParsableArguments {
    @Option(help: "Output directory. (default: runs/DATE-TIME-MODEL)") var outputDir: String?
    @Option(help: "Steps between checkpoints; 0 means only at the end. (default: 1000)")
    var checkpointEvery: Int?
    @Option(help: "Number of latest checkpoints to keep; 0 means all. (default: 3)") var keepCheckpoints: Int?
    @Option(help: "Start from the weights of a checkpoint or .safetensors file.") var `init`: String?
    @Option(help: "auto (resume the output directory's run, if any), never, or a checkpoint. (default: auto)")
    var resume: String?
    @Option(help: "Write a trace of all threads of all ranks to this file, for Perfetto.")
    var trace: String?
  }
}
