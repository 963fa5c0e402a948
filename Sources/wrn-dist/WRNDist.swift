import ArgumentParser
import Foundation
import Training

/// The command line: flags in, exit code out.
///
/// Everything else is in the libraries.
@main
struct WRNDist: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "wrn-dist",
    abstract: "Trains Wide Residual Networks on CIFAR-10, one process or many under mpirun.",
    discussion: """
      `wrn-dist` alone means `wrn-dist train`. Start several ranks with `mpirun -np 4 wrn-dist …`: the result is the \
      same, bit for bit, for every number of ranks and threads.

      Exit codes: 0 done; 64 usage; 65 bad data or checkpoint; 69 peer, network or memory failure; 70 internal; \
      73 cannot create output; 74 input/output error; 75 stopped on request after a checkpoint; 76 diverged.
      """,
    version: "0.1.0",
    subcommands: [
      TrainCommand.self, EvaluateCommand.self, InspectCommand.self, BenchmarkCommand.self,
      DataCommand.self, DoctorCommand.self, PlanCommand.self,
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

  /// Writes `--steps -1` as `--steps=-1`, because the parser takes what begins with a minus for another flag and says that
  /// the value is missing, where ours can say what is wrong with it.
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
