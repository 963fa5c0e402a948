import Collectives
import Foundation
import OpenMPI

/// The command of a run: `wrn-dist train` alone, under `mpirun`, or after the words of `--launcher`.
struct SweepLauncher {
  /// The number of ranks of `mpirun`.
  ///
  /// If `nil`, a run is one process.
  let ranks: Int?
  /// The words before the command; empty for none.
  let launcher: [String]
  /// The number of runs at once.
  var jobs: Int

  /// The path of this program.
  static let program =
    (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? CommandLine.arguments[0]

  /// The SIGTERMs that end a run at once after a stop request.
  ///
  /// wrn-dist and launch/train take the first one for another stop request. `mpirun` kills its ranks at the first one, and
  /// exits without them at the second.
  var terminationCount: Int { ranks == nil ? 2 : 1 }

  /// Returns the words of a run's command.
  ///
  /// - Parameter run: The run.
  /// - Returns: The program and its arguments.
  func command(_ run: SweepRun) -> [String] {
    if let last = launcher.last {
      // launch/train expects the flags of train after `--`, and knows the program.
      return launcher + (last == "--" ? [] : [Self.program, "train"]) + run.arguments
    }
    guard let ranks else { return [Self.program, "train"] + run.arguments }
    let options = ["--map-by", ":OVERSUBSCRIBE", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
    return ["mpirun", "-np", "\(ranks)"] + options + [Self.program, "train"] + run.arguments
  }

  /// Returns the words that start a run on its share of the cores.
  ///
  /// The run requests a stop by itself if this process is killed (`setpriv --pdeathsig`), so that it never trains as an orphan.
  ///
  /// - Parameters:
  ///   - run: The run.
  ///   - slot: Which of the runs at once, from 0.
  /// - Returns: The program and its arguments.
  func start(_ run: SweepRun, slot: Int) -> [String] {
    var words: [String] = []
    if Self.isInstalled("setpriv") { words += ["setpriv", "--pdeathsig", "USR1"] }
    let cores = Self.share(slot: slot, of: jobs, cores: CPUAffinity.current().usableCores.cores)
    if jobs > 1, Self.isInstalled("taskset") {
      words += ["taskset", "-c", cores.map(String.init).joined(separator: ",")]
    }
    return words + command(run)
  }

  /// A warning about missing programs, without which runs still train; `nil` if none is missing.
  var warning: String? {
    let programs = [
      ("setpriv", true, "runs continue if the sweep is killed"),
      ("taskset", jobs > 1, "runs at once use the same cores"),
    ]
    let missing = programs.filter { name, isUsed, _ in isUsed && !Self.isInstalled(name) }
    guard !missing.isEmpty else { return nil }
    return "warning: " + missing.map { name, _, effect in "without \(name) \(effect)" }.joined(separator: ", ")
      + "; install util-linux."
  }

  /// Returns the cores of one of several runs: equal shares in order; runs that outnumber the cores take one each in rotation.
  static func share(slot: Int, of jobs: Int, cores: [Int]) -> [Int] {
    guard jobs <= cores.count else { return [cores[slot % cores.count]] }
    return Array(cores[slot * cores.count / jobs..<(slot + 1) * cores.count / jobs])
  }

  private static func isInstalled(_ program: String) -> Bool {
    let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
    return path.split(separator: ":").contains { access("\($0)/\(program)", X_OK) == 0 }
  }

  /// Divides a text at its blanks, except after a backslash and between quotation marks.
  ///
  /// - Parameter text: The text.
  /// - Returns: The words, without quotation marks.
  /// - Throws: ``UsageError`` if a quotation is not closed or a backslash is last.
  static func words(_ text: String) throws -> [String] {
    var words: [String] = []
    var (word, quote, isEscaped): (String?, Character?, Bool) = (nil, nil, false)
    for character in text {
      if isEscaped {
        word = (word ?? "") + String(character)
        isEscaped = false
      } else if character == "\\", quote != "'" {
        isEscaped = true
      } else if character == quote {
        quote = nil
      } else if quote == nil, character == "'" || character == "\"" {
        (quote, word) = (character, word ?? "")
      } else if quote == nil, character.isWhitespace {
        if let word { words.append(word) }
        word = nil
      } else {
        word = (word ?? "") + String(character)
      }
    }
    guard quote == nil, !isEscaped else {
      throw UsageError("--launcher \(text) ends within a quotation; close it.")
    }
    return words + [word].compactMap { $0 }
  }
}
