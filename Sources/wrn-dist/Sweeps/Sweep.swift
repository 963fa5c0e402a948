import Foundation
import Glibc
import Training

/// Trains the runs of a sweep in child processes, several at once, and shows their states.
final class Sweep {
  /// The state of a run in this start of the sweep.
  enum State: Equatable {
    case waiting
    case running
    /// It has all its steps; with the exit code if it was trained in this start.
    case finished
    case stopped
    /// It ended with an exit code other than 0 without a stop request.
    case failed(Int32)

    /// The word in tables.
    var name: String {
      switch self {
      case .waiting: "waiting"
      case .running: "running"
      case .finished: "finished"
      case .stopped: "stopped"
      case .failed: "failed"
      }
    }
  }

  private let runs: [SweepRun]
  private let launcher: SweepLauncher
  private let terminal = Terminal()
  /// The state of each run.
  private(set) var states: [State]
  private var exitCodes: [Int32?]
  private var children: [(index: Int, slot: Int, process: ChildProcess)] = []
  private var shownLines = 0
  private var isPassedOn = false

  /// Prepares the runs; those that have all their steps are not started again.
  init(_ runs: [SweepRun], launcher: SweepLauncher) {
    self.runs = runs
    self.launcher = launcher
    states = runs.map { RunStatus($0.directory).state == .finished ? .finished : .waiting }
    exitCodes = runs.map { _ in nil }
  }

  /// Trains all runs that are not finished, and returns after the last child process has ended.
  ///
  /// - Throws: `StartupFailure` if a program cannot be started; the children that run are stopped before.
  func train() throws {
    for (run, state) in zip(runs, states) where state == .finished { report(run, "finished already") }
    var lastShown = -Double.infinity
    do {
      while !children.isEmpty || !SweepSignals.isStopRequested && states.contains(.waiting) {
        try startRuns()
        reap()
        passOnSignals()
        let now = ProcessInfo.processInfo.systemUptime
        if terminal.isLive, now - lastShown >= 0.5 {
          show()
          lastShown = now
        }
        usleep(50_000)
      }
    } catch {
      for child in children { child.process.send(SIGUSR1) }
      while !children.isEmpty {
        reap()
        usleep(50_000)
      }
      throw error
    }
    if terminal.isLive { show() }
  }

  /// The rows of the comparison.
  var summaryRows: [SweepSummary.Row] {
    runs.indices.map { SweepSummary.Row(run: runs[$0], state: states[$0].name, exitCode: exitCodes[$0]) }
  }

  /// The exit code of the sweep: that of the first failed run in the order of the grid, else 75 after a stop request, else 0.
  ///
  /// A run that a signal has ended, or whose program is missing, counts as a failed rank: 69.
  var exitCode: Int32 {
    for case .failed(let code) in states { return code > 125 ? ExitCodes.peerFailure : code }
    return states.allSatisfy { $0 == .finished } ? 0 : ExitCodes.stopped
  }

  private func startRuns() throws {
    while !SweepSignals.isStopRequested, children.count < launcher.jobs,
      let index = states.firstIndex(of: .waiting)
    {
      let run = runs[index]
      let slot = (0..<launcher.jobs).first { slot in !children.contains { $0.slot == slot } } ?? 0
      try? FileManager.default.createDirectory(atPath: run.directory, withIntermediateDirectories: true)
      let process = try ChildProcess(launcher.start(run, slot: slot), log: "\(run.directory)/output.log")
      children.append((index, slot, process))
      states[index] = .running
      report(run, "started")
    }
  }

  private func reap() {
    children.removeAll { index, _, process in
      guard let code = process.exitCode() else { return false }
      exitCodes[index] = code
      let run = runs[index]
      let isStopped = code == ExitCodes.stopped || SweepSignals.isStopRequested && code != 0
      states[index] = code == 0 ? .finished : isStopped ? .stopped : .failed(code)
      switch states[index] {
      case .finished:
        let accuracy = RunStatus(run.directory).accuracy.map { String(format: ", accuracy %.2f %%", 100 * $0) } ?? ""
        report(run, "finished\(accuracy)")
      case .stopped: report(run, "stopped")
      default: report(run, "failed with exit code \(code): \(Self.lastError(in: "\(run.directory)/output.log"))")
      }
      return true
    }
  }

  /// Requests a stop of every child once; after a second interruption ends them, and kills those that remain after 10 s.
  private func passOnSignals() {
    if SweepSignals.isStopRequested, !isPassedOn {
      isPassedOn = true
      write("stopping \(children.count) run(s) after a checkpoint; repeat to stop at once")
      for child in children { child.process.send(SIGUSR1) }
    }
    guard SweepSignals.isEndRequested else { return }
    for attempt in 0..<100 where !children.isEmpty {
      for child in children {
        if attempt < launcher.terminationCount { child.process.send(SIGTERM) }
        if attempt == 99 { child.process.killGroup() }
      }
      usleep(100_000)
      reap()
    }
  }

  /// Prints what happens to a run, unless the live table shows it; a failure is printed in any case.
  private func report(_ run: SweepRun, _ text: String) {
    if !terminal.isLive || text.hasPrefix("failed") { write("[\(run.index + 1)/\(runs.count)] \(run.name): \(text)") }
  }

  private func write(_ line: String) { put(erasure + line + "\n") }

  private func show() {
    let rows = runs.indices.map { i in
      SweepTable.Row(
        name: runs[i].name, state: states[i].name, status: states[i] == .waiting ? nil : RunStatus(runs[i].directory))
    }
    let lines = SweepTable.render(rows, terminal, size: terminal.size)
    put(erasure + lines.map { $0 + "\n" }.joined())
    shownLines = lines.count
  }

  /// The characters that move the cursor to the start of the table and clear the screen from there.
  private var erasure: String {
    defer { shownLines = 0 }
    return shownLines > 0 ? "\u{1B}[\(shownLines)A\r\u{1B}[J" : ""
  }

  private func put(_ text: String) { try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) }

  /// Returns the last error message of a log, without the words before it.
  private static func lastError(in path: String) -> String {
    let text = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    let line = text.split(separator: "\n").last { $0.contains("error: ") || $0.contains("exited on signal") }
    return line.map { String($0.split(separator: "error: ", maxSplits: 1).last ?? $0) } ?? "see \(path)"
  }
}
