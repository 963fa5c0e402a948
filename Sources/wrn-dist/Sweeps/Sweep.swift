import Foundation
import Glibc
import Training

/// Trains runs in child processes, several at once, and shows their states.
final class Sweep {
  /// The state of a run in this start of the sweep.
  enum State: Equatable {
    case waiting
    case running
    /// It has all its steps, and its last evaluation.
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

  /// A child process that trains a run.
  private struct Child {
    /// The run's index.
    let index: Int
    /// Its share of the cores.
    let slot: Int
    /// The length of the run's log at the start, which earlier starts have written.
    let logStart: UInt64
    let process: ChildProcess
  }

  private let runs: [SweepRun]
  private let launcher: SweepLauncher
  private let isForeground: Bool
  private let terminal = Terminal()
  /// The state of each run.
  private(set) var states: [State]
  private var exitCodes: [Int32?]
  private var children: [Child] = []
  /// The statuses that no longer change, by the index of the run.
  private var settled: [Int: RunStatus] = [:]
  private var shownLines = 0
  /// Whether the children have got the stop request.
  private var isPassedOn = false

  /// Prepares the runs; those that are finished are not started again, and leave their cores to the others.
  ///
  /// - Parameters:
  ///   - runs: The runs.
  ///   - launcher: The command of a run, and the number of runs at once.
  ///   - isForeground: Whether children write to this process's output, and nothing else is printed; else each has a log.
  init(_ runs: [SweepRun], launcher: SweepLauncher, isForeground: Bool = false) {
    self.runs = runs
    self.isForeground = isForeground
    let states = runs.map { RunStatus($0.directory).state == .finished ? State.finished : .waiting }
    self.states = states
    exitCodes = runs.map { _ in nil }
    var launcher = launcher
    launcher.jobs = max(1, min(launcher.jobs, states.count { $0 == .waiting }))
    self.launcher = launcher
  }

  /// Trains all runs that are not finished, and returns after the last child process has ended.
  ///
  /// - Throws: `CheckpointError` of kind `cannotCreate` if a run's directory or log cannot be written, `StartupFailure` if a
  ///   program cannot be started; the children that run are stopped before.
  func train() throws {
    for (run, state) in zip(runs, states) where state == .finished {
      if isForeground { write("\(run.name): finished already") } else { report(run, "finished already") }
    }
    if states.contains(.waiting), let warning = launcher.warning { StandardError.write(warning) }
    do { try trainWaitingRuns() } catch {
      requestStop()
      while !children.isEmpty {
        reap()
        passOnSignals()
        usleep(50_000)
      }
      throw error
    }
    if isLive { show() }
  }

  private func trainWaitingRuns() throws {
    var lastShown = -Double.infinity
    while !children.isEmpty || !SweepSignals.isStopRequested && states.contains(.waiting) {
      try startRuns()
      reap()
      passOnSignals()
      let now = ProcessInfo.processInfo.systemUptime
      if isLive, now - lastShown >= 0.5 {
        show()
        lastShown = now
      }
      usleep(50_000)
    }
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
      let log = isForeground ? nil : Self.log(of: run)
      if !isForeground { try createDirectory(of: run) }
      let logStart = log.map(Self.byteCount) ?? 0
      let process = try ChildProcess(launcher.start(run, slot: slot), log: log)
      children.append(Child(index: index, slot: slot, logStart: logStart, process: process))
      states[index] = .running
      report(run, "started")
    }
  }

  private func createDirectory(of run: SweepRun) throws {
    try? FileManager.default.createDirectory(atPath: run.directory, withIntermediateDirectories: true)
    var isDirectory: ObjCBool = false
    guard FileManager.default.fileExists(atPath: run.directory, isDirectory: &isDirectory), isDirectory.boolValue,
      access(run.directory, W_OK) == 0
    else {
      throw CheckpointError(
        .cannotCreate,
        "the directory \(run.directory) of a run cannot be written; remove what is in its place, or give another "
          + "--output-dir.")
    }
  }

  private func reap() {
    children.removeAll { child in
      guard let code = child.process.exitCode() else { return false }
      exitCodes[child.index] = code
      let run = runs[child.index]
      let isStopped = code == ExitCodes.stopped || (SweepSignals.isStopRequested || isPassedOn) && code != 0
      states[child.index] = code == 0 ? .finished : isStopped ? .stopped : .failed(code)
      switch states[child.index] {
      case .finished:
        let accuracy = RunStatus(run.directory).accuracy.map { String(format: ", accuracy %.2f %%", 100 * $0) } ?? ""
        report(run, "finished\(accuracy)")
      case .stopped: report(run, "stopped")
      default:
        let reason = Self.lastError(in: Self.log(of: run), from: child.logStart)
        report(run, "failed with exit code \(code): \(reason)")
      }
      return true
    }
  }

  /// Requests a stop of every child, once.
  private func requestStop() {
    guard !isPassedOn else { return }
    isPassedOn = true
    for child in children { child.process.send(SIGUSR1) }
  }

  /// Passes a stop request on; after a second interruption ends all children, and kills those that remain after 10 s.
  private func passOnSignals() {
    if SweepSignals.isStopRequested, !isPassedOn {
      if !isForeground { write("stopping \(children.count) run(s) after a checkpoint; repeat to stop at once") }
      requestStop()
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

  /// Whether a table shows the runs.
  private var isLive: Bool { terminal.isLive && !isForeground }

  /// Prints what happens to a run, unless the live table shows it; a failure is printed in any case.
  private func report(_ run: SweepRun, _ text: String) {
    if isForeground { return }
    if !isLive || text.hasPrefix("failed") { write("[\(run.index + 1)/\(runs.count)] \(run.name): \(text)") }
  }

  private func write(_ line: String) { put(erasure + line + "\n") }

  private func show() {
    let rows = runs.indices.map { SweepTable.Row(name: runs[$0].name, state: states[$0].name, status: status($0)) }
    let lines = SweepTable.render(rows, terminal, size: terminal.size)
    put(erasure + lines.map { $0 + "\n" }.joined())
    shownLines = lines.count
  }

  /// Reads the status of a run; once if its process has ended.
  private func status(_ index: Int) -> RunStatus? {
    if states[index] == .waiting { return nil }
    if let status = settled[index] { return status }
    let status = RunStatus(runs[index].directory)
    if states[index] != .running { settled[index] = status }
    return status
  }

  /// The characters that move the cursor to the start of the table and clear the screen from there.
  private var erasure: String {
    defer { shownLines = 0 }
    return shownLines > 0 ? "\u{1B}[\(shownLines)A\r\u{1B}[J" : ""
  }

  private func put(_ text: String) { try? FileHandle.standardOutput.write(contentsOf: Data(text.utf8)) }

  private static func log(of run: SweepRun) -> String { "\(run.directory)/output.log" }

  /// The length of a file; 0 if there is none.
  private static func byteCount(_ path: String) -> UInt64 {
    var status = stat()
    return stat(path, &status) == 0 ? UInt64(status.st_size) : 0
  }

  /// Returns the last error message that a log has from an offset on, without the words before it.
  private static func lastError(in path: String, from offset: UInt64) -> String {
    let text = String(decoding: RunStatus.tail(path, from: offset, byteCount: 1 << 20), as: UTF8.self)
    let line = text.split(separator: "\n").last { $0.contains("error: ") || $0.contains("exited on signal") }
    return line.map { String($0.split(separator: "error: ", maxSplits: 1).last ?? $0) } ?? "see \(path)"
  }
}
