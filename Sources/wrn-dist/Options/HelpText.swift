/// Help strings of options that several commands have.
///
/// They are constants, not option groups, because a group would reorder `--help`.
enum HelpText {
  static let architecture = "Family: trax, or wrn (the paper's)."
  static let depth = "Nominal depth."
  static let batchSize = "Images per step over all ranks."
  static let microbatches = "Microbatches per batch"
  static let threads = "Threads per rank. (default: its usable cores / the ranks that share them)"
  static let sharedCores =
    "Where a host has fewer cores than ranks: join (one rank per core computes, the others wait) or compute (all do)"
  static let engine = "Convolution engine"
  static let batchNorm = "Batch statistics of the global batch (SyncBN) or of each microbatch (ghost batch norm)."
  static let bucketSize = "Bytes per bucket of gradients, such as 512KiB or 4MiB"
  static let progress =
    "How messages progress while a rank computes: poll (by the computing thread) or thread (by a progress thread, for "
    + "hosts with a spare core)"
  static let optimizerState = "Adam's state on every rank (replicated) or sharded over the ranks (sharded)"
  static let evaluationRanks = "Ranks that evaluate: all or root."
  static let evaluationStatistics = "Batch norm by batch statistics or by running statistics."
  static let testFlip = "Also classify by the mean logits of each image and its mirror image."
  static let checkpoint =
    "A checkpoint directory, a run's directory (its latest checkpoint), or a .safetensors file."
  static let weights = "The weights of the last step (raw), or their average, if the run made one (average)."
  static let classNames =
    "A file with a class name per line, in the order of the labels. (default: the names of the run's data set)"
  static let json = "Print one JSON object as the last line."
}
