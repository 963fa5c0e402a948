import Foundation
import Training
import Yams

/// The state of a run, read from its directory, also while another process trains it.
struct RunStatus: Encodable {
  /// What the run does.
  enum State: String, Encodable {
    /// The directory has no step yet.
    case waiting
    /// A process trains it.
    case running
    /// It has all its steps, and the last evaluation.
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
  /// The step of the last evaluation, its loss and its accuracy, with mirror images if those are evaluated.
  private(set) var evaluatedStep: Int?
  private(set) var (evaluationLoss, accuracy): (Double?, Double?) = (nil, nil)
  /// The step from which the run would resume.
  private(set) var checkpointStep: Int?

  /// A line of `metrics.jsonl`.
  private struct Line: Decodable {
    let kind: String
    let step: Int
    let loss, learningRate, imagesPerSecond, computeSeconds, communicationSeconds: Double?
    let accuracy, mirroredAccuracy: Double?
  }

  private static let decoder: JSONDecoder = {
    let decoder = JSONDecoder()
    decoder.keyDecodingStrategy = .convertFromSnakeCase
    return decoder
  }()

  /// Reads a run's directory; files that are missing, damaged or half written leave values unset.
  init(_ directory: String) {
    self.directory = directory
    let settings = Self.settings(directory)
    steps = settings["steps"].flatMap { Int($0) }
    readMetrics(batchSize: settings["batch-size"].flatMap { Double($0) } ?? 0)
    let latest = (try? String(contentsOfFile: "\(directory)/checkpoints/latest", encoding: .utf8)) ?? ""
    checkpointStep = latest.split(separator: "\n").first.flatMap { Int($0.replacing("step-", with: "")) }
    let isComplete =
      steps != nil && checkpointStep ?? 0 >= steps ?? 0
      && (settings["eval-every"] == "0" || evaluatedStep ?? 0 >= steps ?? 0)
    switch RunLease.observe(directory) {
    case .held(let holder): (state, process) = (.running, holder)
    case .stale(let holder): (state, process) = (isComplete ? .finished : .dead, holder)
    case .free: state = isComplete ? .finished : (step == nil && checkpointStep == nil ? .waiting : .stopped)
    }
    if state != .running { secondsLeft = nil }
  }

  /// Whether the directory holds files of a run.
  var exists: Bool {
    OutputDirectory.holdsRun(directory) || FileManager.default.fileExists(atPath: "\(directory)/config.yaml")
  }

  /// The settings in `config.yaml` by name; empty if there is none.
  static func settings(_ directory: String) -> [String: String] {
    guard let text = try? String(contentsOfFile: "\(directory)/config.yaml", encoding: .utf8),
      let mapping = (try? Yams.compose(yaml: text))?.mapping
    else { return [:] }
    var result: [String: String] = [:]
    for (key, value) in mapping {
      if let name = key.scalar?.string, let text = value.scalar?.string { result[name] = text }
    }
    return result
  }

  private mutating func readMetrics(batchSize: Double) {
    // An evaluation line is rare, and so is searched in more of the file: 4 MiB are 15,000 steps or more.
    let tail = Self.tail("\(directory)/metrics.jsonl", byteCount: 4 << 20)
    let lines = tail.suffix(16 << 10).split(separator: UInt8(ascii: "\n")).compactMap { line in
      try? Self.decoder.decode(Line.self, from: Data(line))
    }
    let trained = lines.filter { $0.kind == "train" }.suffix(32)
    if let last = trained.last {
      (step, loss, learningRate) = (last.step, last.loss, last.learningRate)
      let seconds = trained.compactMap(\.imagesPerSecond).reduce(0) { $0 + batchSize / $1 }
      if seconds > 0 {
        imagesPerSecond = batchSize * Double(trained.count) / seconds
        let communication = trained.compactMap(\.communicationSeconds).reduce(0, +)
        communicationShare = communication / (trained.compactMap(\.computeSeconds).reduce(0, +) + communication)
        if let steps { secondsLeft = seconds / Double(trained.count) * Double(max(0, steps - last.step)) }
      }
    }
    guard let start = tail.range(of: Data(#"{"kind":"eval""#.utf8), options: .backwards)?.lowerBound,
      let line = tail[start...].split(separator: UInt8(ascii: "\n"), maxSplits: 1).first,
      let evaluation = try? Self.decoder.decode(Line.self, from: Data(line))
    else { return }
    evaluatedStep = evaluation.step
    (evaluationLoss, accuracy) = (evaluation.loss, evaluation.mirroredAccuracy ?? evaluation.accuracy)
  }

  /// Returns the last bytes of a file; none if it cannot be read.
  private static func tail(_ path: String, byteCount: Int) -> Data {
    guard let file = FileHandle(forReadingAtPath: path) else { return Data() }
    defer { try? file.close() }
    let length = (try? file.seekToEnd()) ?? 0
    try? file.seek(toOffset: length - min(length, UInt64(byteCount)))
    return (try? file.readToEnd()) ?? Data()
  }
}
