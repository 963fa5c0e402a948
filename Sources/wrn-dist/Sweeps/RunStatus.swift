import Foundation
import Reports
import Training

/// The state of a run, read from its directory, also while another process trains it.
struct RunStatus: Encodable {
  /// What the run does.
  enum State: String, Encodable {
    /// The directory has no step yet.
    case waiting
    /// A process trains it.
    case running
    /// It has all its steps, and every part of the last evaluation.
    case finished
    /// It was stopped, or has failed; the same command resumes it.
    case stopped
    /// The process that trained it was killed, or its host is lost; the same command resumes it.
    case dead
  }

  /// The directory.
  let directory: String
  private(set) var state = State.waiting
  /// The process that trains the run, or trained it: `process 4711 on node01`.
  private(set) var process: String?
  /// The last step in `metrics.jsonl`, and the steps of the run.
  private(set) var (step, steps): (Int?, Int?) = (nil, nil)
  private(set) var loss: Double?
  private(set) var learningRate: Double?
  private(set) var imagesPerSecond: Double?
  /// The fraction of the time that rank 0 waited for other ranks.
  private(set) var communicationShare: Double?
  private(set) var secondsLeft: Double?
  /// The step of the last evaluation, and its lines so far: one per set of images and of weights.
  private(set) var (evaluatedStep, evaluationLines): (Int?, Int?) = (nil, nil)
  /// The loss and accuracy of its last line, with mirror images if those are evaluated.
  private(set) var (evaluationLoss, accuracy): (Double?, Double?) = (nil, nil)
  /// The step from which the run would resume.
  private(set) var checkpointStep: Int?

  /// Reads a run's directory; files that are missing, damaged or half written leave values unset.
  init(_ directory: String) {
    self.directory = directory
    let settings = Self.settings(directory)
    steps = settings["steps"].flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
    readMetrics(batchSize: settings["batch-size"].flatMap { Int($0) } ?? 0)
    let latest = (try? String(contentsOfFile: "\(directory)/checkpoints/latest", encoding: .utf8)) ?? ""
    checkpointStep = latest.split(separator: "\n").first.flatMap { Int($0.replacing("step-", with: "")) }
    let isComplete = self.isComplete
    switch RunLease.observe(directory) {
    case .held(let holder): (state, process) = (.running, holder)
    case .stale(let holder): (state, process) = (isComplete ? .finished : .dead, holder)
    case .free: state = isComplete ? .finished : (step == nil && checkpointStep == nil ? .waiting : .stopped)
    }
    if state != .running { secondsLeft = nil }
  }

  /// Whether the run has all its steps, and every part of the evaluation after the last one.
  private var isComplete: Bool {
    guard let steps, let checkpointStep, checkpointStep >= steps else { return false }
    let sources = try? ConfigurationSources(["--config=\(directory)/config.yaml"], environment: [:])
    // Of a file that is damaged, or of another version, the defaults decide.
    let configuration = (try? sources?.options().configuration()) ?? TrainingConfiguration()
    let lineCount = configuration.lastEvaluationLineCount(steps: steps)
    guard lineCount > 0, evaluatedStep ?? 0 <= steps else { return true }
    return evaluatedStep == steps && evaluationLines ?? 0 >= lineCount
  }

  /// Whether the directory holds files of a run.
  var exists: Bool {
    OutputDirectory.holdsRun(directory) || FileManager.default.fileExists(atPath: "\(directory)/config.yaml")
  }

  /// The settings in `config.yaml` by name; empty if there is none.
  static func settings(_ directory: String) -> [String: String] {
    let text = try? String(contentsOfFile: "\(directory)/config.yaml", encoding: .utf8)
    let settings = text.flatMap(SettingsFile.settings) ?? []
    return Dictionary(settings.map { ($0.name, $0.value) }) { _, last in last }
  }

  private mutating func readMetrics(batchSize: Int) {
    // An evaluation line is rare, and so is searched in more of the file: 4 MiB are 15,000 steps or more.
    let tail = Self.tail("\(directory)/metrics.jsonl", byteCount: 4 << 20)
    // The last line may be half written.
    guard let last = tail.lastIndex(of: UInt8(ascii: "\n")) else { return }
    let lines = tail[...last]
    readSteps(MetricsFile(lines.suffix(16 << 10)).steps.suffix(32), batchSize: Double(batchSize))
    guard let start = lines.range(of: Data(#"{"kind":"eval""#.utf8), options: .backwards)?.lowerBound,
      let end = lines[start...].firstIndex(of: UInt8(ascii: "\n"))
    else { return }
    // The at most four lines of an evaluation are adjacent, and have some 200 bytes each.
    let evaluations = MetricsFile(lines[max(lines.startIndex, start - 4096)...end]).evaluations
    guard let evaluation = evaluations.last else { return }
    evaluatedStep = evaluation.step
    evaluationLines = evaluations.count { $0.step == evaluation.step }
    let share = evaluation.mirroredAccuracy ?? evaluation.accuracy
    (evaluationLoss, accuracy) = (evaluation.loss.isFinite ? evaluation.loss : nil, share.isFinite ? share : nil)
  }

  private mutating func readSteps(_ trained: ArraySlice<MetricsFile.Step>, batchSize: Double) {
    guard let last = trained.last else { return }
    (step, loss, learningRate) = (last.step, Self.decimal(last.loss), Self.decimal(last.learningRate))
    let speeds = trained.map { Double($0.imagesPerSecond) }.filter { $0.isFinite && $0 > 0 }
    let seconds = speeds.reduce(0) { $0 + batchSize / $1 }
    guard seconds > 0 else { return }
    imagesPerSecond = batchSize * Double(speeds.count) / seconds
    if let steps { secondsLeft = seconds / Double(speeds.count) * Double(max(0, steps - last.step)) }
    let communication = trained.map { Double($0.communicationSeconds) }.filter(\.isFinite).reduce(0, +)
    let computing = trained.map { Double($0.computeSeconds) }.filter(\.isFinite).reduce(0, +)
    if computing + communication > 0 { communicationShare = communication / (computing + communication) }
  }

  /// Returns a number of `metrics.jsonl` as it is written there, with the digits of a Float; `nil` if it is not finite.
  static func decimal(_ value: Float) -> Double? { value.isFinite ? Double(value.description) : nil }

  /// Returns the end of a file; nothing if it cannot be read.
  ///
  /// - Parameters:
  ///   - path: The file, which another process may still write.
  ///   - offset: The bytes at its start that are not read.
  ///   - byteCount: The most bytes that are read.
  /// - Returns: The last bytes.
  static func tail(_ path: String, from offset: UInt64 = 0, byteCount: UInt64) -> Data {
    guard let file = FileHandle(forReadingAtPath: path) else { return Data() }
    defer { try? file.close() }
    let length = (try? file.seekToEnd()) ?? 0
    try? file.seek(toOffset: max(offset, length - min(length, byteCount)))
    return (try? file.readToEnd()) ?? Data()
  }
}
