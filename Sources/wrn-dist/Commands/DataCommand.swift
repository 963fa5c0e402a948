import ArgumentParser
import Datasets

/// Commands for data sets in the binary formats of CIFAR-10 and CIFAR-100.
struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Writes or checks a data set in the binary format of CIFAR-10 or CIFAR-100.",
    subcommands: [DataSynthesizeCommand.self, DataVerifyCommand.self])
}

/// Writes the synthetic data set.
struct DataSynthesizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "synthesize",
    abstract: "Writes the synthetic data set as files: 10,000 training and 2,000 test images of generated shapes.",
    discussion: "The same seed gives the same bytes on every machine; seed 0 is the embedded data set.")

  @Argument(help: "A directory that does not exist yet.") var directory: String
  @Option(help: "cifar10 (ten shapes), or cifar100 (shapes in two textures and five colours).")
  var dataset: DatasetKind = .cifar10
  @Option(help: "Seed of all images and labels.") var seed: UInt64 = 0

  func run() throws {
    try SyntheticDataset.write(to: directory, kind: dataset, seed: seed)
    let flags = (dataset == .cifar10 ? "" : "--dataset \(dataset.rawValue) ") + "--data \(directory)"
    print(
      "\(directory): \(SyntheticDataset.trainingCount) training and \(SyntheticDataset.testCount) test images; "
        + "use it with \(flags)")
  }
}

/// Checks a data set.
struct DataVerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Reads every record of a data set: sizes, labels, class counts, SHA-256 of the real CIFAR-10.")

  @Argument(help: "The directory with data_batch_*.bin and test_batch.bin, or train.bin and test.bin.")
  var directory: String
  @Option(help: "The format: cifar10 or cifar100.") var dataset: DatasetKind = .cifar10

  func run() throws {
    print(
      try StandardConsole().showing("reading \(directory)") {
        try DatasetVerification(directory: directory, kind: dataset)
      })
  }
}
