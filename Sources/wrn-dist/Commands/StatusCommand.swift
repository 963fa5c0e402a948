import ArgumentParser
import Foundation
import Support
import Training

/// Prints the states of runs.
struct StatusCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Prints the state of a run, also while another process trains it.",
    discussion: """
      The state is waiting, running, finished, stopped (by request or an error) or dead: the process that trained the run \
      was killed, or its host has not renewed its lease. For a sweep's directory all its runs are listed.
      """)

  @Argument(help: ArgumentHelp("Directories of runs, or of sweeps.", valueName: "run")) var runs: [String]
  @Flag(help: "\(HelpText.json)") var json = false

  func run() throws {
    let directories = runs.flatMap(Self.runDirectories)
    let all = directories.map { RunStatus($0) }
    for status in all where !status.exists && runs.contains(status.directory) {
      throw CheckpointError(.bad, "\(status.directory) is not the directory of a run or a sweep; check the path.")
    }
    if json {
      struct Document: Encodable { let runs: [RunStatus] }
      return print(try JSONLine.render(Document(runs: all)))
    }
    let terminal = Terminal()
    if all.count == 1 {
      for line in all[0].lines(terminal) { print(line) }
      return
    }
    let rows = all.map { SweepTable.Row(name: $0.directory, state: $0.state.rawValue, status: $0) }
    let columns = terminal.isLive ? terminal.size.columns : 100
    for line in SweepTable.render(rows, terminal, size: (columns, .max)) { print(line) }
  }

  /// Returns the directories of a sweep's runs in the order of their names, or the given directory.
  private static func runDirectories(_ directory: String) -> [String] {
    guard let names = SweepRecord.runNames(in: directory) else { return [directory] }
    return names.map { "\(directory)/\($0)" }
  }
}

extension RunStatus {
  /// A description of one line per fact; facts that are not known are left out.
  func lines(_ terminal: Terminal) -> [String] {
    let color = ["running": 36, "finished": 32, "dead": 31, "stopped": 33][state.rawValue] ?? 0
    var holder = ""
    if let process { holder = state == .dead ? ", was \(process)" : ", \(process)" }
    var result: [(String, String)] = [("state", terminal.colored(state.rawValue, color) + holder)]
    if let step {
      let percent = steps.map { String(format: " (%.0f %%)", 100 * Double(step) / Double(max(1, $0))) } ?? ""
      result.append(("step", "\(step)\(steps.map { " of \($0)" } ?? "")\(percent)"))
    }
    if let loss { result.append(("loss", String(format: "%.4f", loss))) }
    if let accuracy, let evaluatedStep {
      result.append(("accuracy", String(format: "%.2f %% after step %d", 100 * accuracy, evaluatedStep)))
    }
    if let imagesPerSecond {
      let share = communicationShare.map { String(format: ", %.0f %% communication", 100 * $0) } ?? ""
      result.append(("speed", String(format: "%.0f images/s", imagesPerSecond) + share))
    }
    if let secondsLeft { result.append(("time left", ProgressLine.duration(secondsLeft))) }
    result.append(("checkpoint", checkpointStep.map { "after step \($0)" } ?? "none"))
    if state == .dead || state == .stopped {
      result.append(("resume", "the same command with --output-dir \(directory)"))
    }
    return [directory] + result.map { "  \($0.leftAligned(11)) \($1)" }
  }
}
