import ArgumentParser
import Datasets

/// Commands for data sets in CIFAR-10's binary format.
struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data", abstract: "Writes or checks a data set in CIFAR-10's binary format.",
    subcommands: [DataSynthesizeCommand.self, DataVerifyCommand.self])
}

/// Writes the synthetic data set.
struct DataSynthesizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "synthesize",
    abstract: "Writes the synthetic data set as files: 10,000 training and 2,000 test images of generated shapes.",
    discussion: "The same seed gives the same bytes on every machine; seed 0 is the embedded data set.")

  @Argument(help: "A directory that does not exist yet.") var directory: String
  @Option(help: "Seed of all images and labels.") var seed: UInt64 = 0

  func run() throws {
    try SyntheticCIFAR10.write(to: directory, seed: seed)
    print(
      "\(directory): \(SyntheticCIFAR10.trainingCount) training and \(SyntheticCIFAR10.testCount) test images; "
        + "use it with --data \(directory)")
  }
}

/// Checks a data set.
struct DataVerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Reads every record of a data set: sizes, labels, class counts, SHA-256 of the real CIFAR-10.")

  @Argument(help: "The directory with data_batch_*.bin and test_batch.bin.") var directory: String

  func run() throws {
    print(try DatasetVerification(directory: directory))
  }
}
