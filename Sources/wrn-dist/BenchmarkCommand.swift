import ArgumentParser

/// Measurements of this machine.
struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark", abstract: "Measures this machine.",
    subcommands: [
      BenchmarkStepCommand.self, BenchmarkAllReduceCommand.self, BenchmarkConvolutionCommand.self,
      BenchmarkAccuracyCommand.self,
    ])
}
