import ArgumentParser
import Collectives
import Foundation
import Glibc
import Support
import Training

/// Trains all combinations of the values of some flags.
struct SweepCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "sweep",
    abstract: "Trains all combinations of values of flags, and compares the runs.",
    discussion: """
      `wrn-dist sweep --widen-factor 1,2 --seed 0,1 --output-dir D` trains four runs in D/NAME. All flags of train are \
      allowed, and several values of any. A YAML file lists the same as `widen-factor: [1, 2]`. The same command resumes: \
      finished runs are untouched, others continue after their last checkpoint. At the end D/sweep.csv and D/report.html \
      compare the runs.
      """)

  @Argument(
    parsing: .allUnrecognized,
    help: ArgumentHelp("A YAML file of flags and values, if any, and flags of train.", valueName: "file-and-flags"))
  var words: [String] = []
  @Option(help: "The sweep's directory.") var outputDir: String
  @Option(help: "Runs at once, each on its share of the cores.") var jobs = 1
  @Option(help: "Ranks per run, under mpirun. (default: one process without mpirun)") var ranks: Int?
  @Option(
    help: """
      Words that start a run instead of mpirun, such as "launch/train -np 4 --"; after a last -- only the flags of train \
      follow, else the whole command.
      """) var launcher: String?
  @Option(help: "Train only the run with this number, from 0, as a task of a job array does.") var index: Int?
  @Flag(
    name: [.customLong("list"), .customLong("dry-run")],
    help: "Print number, directory and command of every run, separated by tabs, and exit.")
  var list = false

  func run() throws {
    try requireValid()
    let environment = ProcessInfo.processInfo.environment
    // A run in the foreground prints them itself.
    if index == nil { ConfigurationVariables.warnings(environment).forEach(StandardError.write) }
    let directory = outputDir.count > 1 && outputDir.hasSuffix("/") ? String(outputDir.dropLast()) : outputDir
    let grid = try SweepGrid(words)
    let runs = try SweepRun.runs(of: grid, in: directory, environment: environment)
    if let index, !runs.indices.contains(index) {
      throw UsageError(
        "--index \(index) is not a run of this sweep; it has \(runs.count), from 0 to \(runs.count - 1).")
    }
    let launcher = SweepLauncher(ranks: ranks, launcher: try SweepLauncher.words(launcher ?? ""), jobs: jobs)
    let chosen = index.map { [runs[$0]] } ?? runs
    if list {
      for run in chosen {
        let command = launcher.command(run).map(QuotedText.shell).joined(separator: " ")
        print("\(run.index)\t\(run.directory)\t\(command)")
      }
      return
    }
    try SweepRecord(runs).confirm(in: directory, file: grid.file)
    SweepSignals.install()
    if index != nil {
      let sweep = Sweep(chosen, launcher: launcher, isForeground: true)
      try sweep.train()
      if sweep.exitCode != 0 { throw ExitCode(sweep.exitCode) }
      return
    }
    // Two sweeps in one directory would start the same runs.
    let lease = try RunLease(directory)
    defer { withExtendedLifetime(lease) {} }
    try train(runs, grid, launcher, directory)
  }

  private func requireValid() throws {
    guard !outputDir.isEmpty else { throw UsageError("--output-dir is empty; give the name of a directory.") }
    guard (1...1024).contains(jobs) else { throw UsageError("--jobs \(jobs) must lie between 1 and 1024.") }
    guard (1...65_536).contains(ranks ?? 1) else {
      throw UsageError("--ranks \(ranks ?? 1) must lie between 1 and 65536.")
    }
    guard ranks == nil || launcher == nil else {
      throw UsageError("--ranks and --launcher both start the ranks of a run; give one of them.")
    }
    if LaunchEnvironment(ProcessInfo.processInfo.environment).isLaunchedByMPI {
      throw UsageError("sweep itself runs without mpirun; give --ranks, or --launcher.")
    }
  }

  /// Trains all runs and compares them.
  private func train(_ runs: [SweepRun], _ grid: SweepGrid, _ launcher: SweepLauncher, _ directory: String) throws {
    let sweep = Sweep(runs, launcher: launcher)
    try sweep.train()
    let summary = SweepSummary(sweep.summaryRows, grid: grid)
    let terminal = Terminal()
    print("")
    for line in summary.lines(width: terminal.isLive ? terminal.size.columns - 1 : .max) { print(line) }
    print("")
    try OutputFile.replace("\(directory)/sweep.csv", with: summary.csv)
    print("comparison in \(directory)/sweep.csv")
    let compared = runs.filter { RunStatus($0.directory).step != nil }
    if !compared.isEmpty, !SweepSignals.isStopRequested { try SweepReport.write(compared, in: directory) }
    let failed = sweep.states.count { if case .failed = $0 { true } else { false } }
    if failed > 0 { print("\(failed) of \(runs.count) runs failed; the same command tries them again") }
    if sweep.exitCode == ExitCodes.stopped { print("stopped on request; the same command resumes the sweep") }
    if sweep.exitCode != 0 { throw ExitCode(sweep.exitCode) }
  }
}

/// The report over a sweep's runs.
enum SweepReport {
  /// Writes `report.html` by `wrn-dist report` in a child process; a failure is a warning, because the runs are complete.
  ///
  /// - Parameters:
  ///   - runs: The runs that have trained a step.
  ///   - directory: The sweep's directory.
  /// - Throws: `CheckpointError` if its log cannot be written, `StartupFailure` if the program cannot be started.
  static func write(_ runs: [SweepRun], in directory: String) throws {
    let path = "\(directory)/report.html"
    let words = [SweepLauncher.program, "report"] + runs.map(\.directory) + ["--format", "html", "--output", path]
    let child = try ChildProcess(words, log: "\(directory)/report.log")
    var exitCode = child.exitCode()
    while exitCode == nil {
      usleep(20_000)
      exitCode = child.exitCode()
    }
    guard exitCode == 0 else {
      return StandardError.write("warning: the report could not be written; \(directory)/report.log has the reason.")
    }
    unlink("\(directory)/report.log")
    print("report in \(path)")
  }
}
