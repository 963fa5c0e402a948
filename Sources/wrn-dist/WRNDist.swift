import ArgumentParser
import Foundation
import Training

/// The command line of wrn-dist: parses flags, runs a command and sets the exit code.
@main
struct WRNDist: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wrn-dist",
    abstract: "Trains Wide Residual Networks on CIFAR-10, in one process or with MPI.",
    discussion: """
      `wrn-dist` alone means `wrn-dist train`. Start several ranks with `mpirun -np 4 wrn-dist …`: the results are \
      bitwise identical for every number of ranks and threads.

      Exit codes: 0 success; 64 usage; 65 invalid data or checkpoint; 69 peer, network or memory failure; 70 internal; \
      73 cannot create output; 74 input/output error; 75 stopped on request after a checkpoint; 76 diverged.
      """,
    version: "0.1.0",
    subcommands: [
      TrainCommand.self, SweepCommand.self, StatusCommand.self, EvaluateCommand.self, PredictCommand.self,
      ExportCommand.self, ReportCommand.self, InspectCommand.self, BenchmarkCommand.self, DataCommand.self,
      DoctorCommand.self, PlanCommand.self,
    ],
    defaultSubcommand: TrainCommand.self)

  static func main() {
    do {
      var command = try parseAsRoot(joiningNegativeNumbers(CommandLine.arguments.dropFirst()))
      try command.run()
      if let reason = StandardOutput.flushError() {
        throw CheckpointError(.inputOutput, "standard output cannot be written: \(reason).")
      }
    } catch {
      CommandFailure(error).exit()
    }
  }

  /// Rewrites `--steps -1` as `--steps=-1`.
  ///
  /// The parser treats a word that begins with a minus as another flag and reports a missing value. The commands report why
  /// the value is invalid.
  static func joiningNegativeNumbers(_ words: some Sequence<String>) -> [String] {
    words.reduce(into: []) { result, word in
      let flag = result.last ?? ""
      if word.hasPrefix("-"), Double(word) != nil, flag.hasPrefix("--"), flag != "--", !flag.contains("=") {
        result[result.count - 1] = "\(flag)=\(word)"
      } else {
        result.append(word)
      }
    }
  }
}

/// Measurements of this machine.
struct BenchmarkCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "benchmark", abstract: "Measures this machine.",
    subcommands: [
      BenchmarkStepCommand.self, BenchmarkAllReduceCommand.self, BenchmarkConvolutionCommand.self,
      BenchmarkAccuracyCommand.self,
    ])
}
