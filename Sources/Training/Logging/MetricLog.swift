import Foundation

/// The log `metrics.jsonl`: one JSON object per line, one line per step and per evaluation.
///
/// It builds its lines itself, because a step must not allocate memory and Foundation's encoder does.
package final class MetricLog {
  /// The last step at or before the start whose evaluation is complete in the file; 0 if there is none.
  package private(set) var evaluatedStep = 0
  /// The number of damaged lines that were removed at the start.
  package private(set) var damagedLineCount = 0
  /// The file.
  let file: LogFile
  private let path: String
  private var table: MetricTable?
  private var line: [UInt8] = []

  /// Opens the file, and removes the lines of steps after `completedSteps`, damaged lines and an incomplete last line.
  ///
  /// An evaluation of that step that was not completed is removed as well.
  ///
  /// A resumed run's file is therefore that of a run that never stopped.
  ///
  /// - Parameters:
  ///   - path: The file.
  ///   - completedSteps: The steps already done. Pass 0 to start a new file.
  ///   - evaluationLineCount: The lines of a complete evaluation after that step.
  /// - Throws: ``CheckpointError`` if the file cannot be written.
  package init(_ path: String, keepingStepsThrough completedSteps: Int, evaluationLineCount: Int = 1) throws {
    if completedSteps > 0 {
      if let data = FileManager.default.contents(atPath: path) {
        let repair = Repair(data, keepingStepsThrough: completedSteps, evaluationLineCount: evaluationLineCount)
        (evaluatedStep, damagedLineCount) = (repair.evaluatedStep, repair.damagedLineCount)
        try Self.replace(path, with: repair.contents)
      }
    }
    self.path = path
    file = try LogFile(path, completedSteps > 0 ? .appending : .replacing)
    line.reserveCapacity(512)
  }

  /// Writes the same lines to a table, too; a step then allocates memory.
  ///
  /// - Parameter path: The file, which is replaced.
  /// - Throws: ``CheckpointError`` if it cannot be written.
  package func addTable(_ path: String) throws { table = try MetricTable(path, from: self.path) }

  /// The file, and the table's if there is one.
  var files: [LogFile] { [file] + (table.map { [$0.file] } ?? []) }

  /// The reason why lines wait in memory; `nil` if none do.
  var failure: CheckpointError? { file.failure ?? table?.file.failure }

  /// Writes a step's line; allocates nothing unless there is a table.
  ///
  /// - Parameters:
  ///   - result: The step's result.
  ///   - step: The step's number.
  ///   - imagesPerSecond: The speed of the step.
  ///   - dataSeconds: The seconds that the step waited for its images.
  package func write(_ result: TrainingStep.Result, step: Int, imagesPerSecond: Float, dataSeconds: Double) {
    startLine(#"{"kind":"train","step":"#)
    append(step)
    append(#","loss":"#, result.loss)
    append(#","learning_rate":"#, result.learningRate)
    append(#","images_per_second":"#, imagesPerSecond)
    append(#","gradient_norm":"#, result.gradientNorm)
    append(#","compute_seconds":"#, Float(result.stepSeconds - result.communicationSeconds))
    append(#","communication_seconds":"#, Float(result.communicationSeconds))
    append(#","data_seconds":"#, Float(dataSeconds))
    if let straggler = result.straggler {
      append(#","slowest_rank":"#)
      append(straggler.rank)
      append(#","slowest_seconds":"#, Float(straggler.seconds))
      append(#","median_seconds":"#, Float(straggler.medianSeconds))
    }
    if result.isSkipped { append(#","skipped":true"#) }
    endLine()
  }

  /// Writes an evaluation's line.
  func write(_ result: Evaluation.Result, _ label: EvaluationLabel, step: Int, statistics: String) {
    startLine(#"{"kind":"eval","step":"#)
    append(step)
    append(#","loss":"#, Float(result.loss))
    append(#","accuracy":"#, Float(result.accuracy))
    append(#","examples":"#)
    append(result.exampleCount)
    append(#","statistics":""#)
    append(statistics)
    append("\"")
    if let accuracy = result.mirroredAccuracy { append(#","mirrored_accuracy":"#, Float(accuracy)) }
    if label.images != .test { append(#","images":"\#(label.images.rawValue)""#) }
    if label.weights != .raw { append(#","weights":"\#(label.weights.rawValue)""#) }
    endLine()
  }

  private func startLine(_ text: StaticString) {
    line.removeAll(keepingCapacity: true)
    append(text)
  }

  private func endLine() {
    append("}\n")
    line.withUnsafeBytes { file.append($0) }
    table?.append(line)
  }

  private func append(_ text: StaticString) {
    line.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
  }

  private func append(_ text: String) { line.append(contentsOf: text.utf8) }

  private func append(_ number: Int) { line.append(contentsOf: number.description.utf8) }

  /// Appends a number as the shortest text that parses to the same Float; `null` for NaN and infinity, which JSON lacks.
  private func append(_ key: StaticString, _ value: Float) {
    append(key)
    if value.isFinite {
      // At most 15 bytes, which a String holds without allocating.
      line.append(contentsOf: value.description.utf8)
    } else {
      append("null" as StaticString)
    }
  }

  /// Replaces the file.
  private static func replace(_ path: String, with contents: Data) throws {
    let temporary = path + ".tmp"
    let file = try OutputFile(temporary, .new)
    try contents.withUnsafeBytes { try file.write($0) }
    try file.close()
    try OutputFile.rename(temporary, to: path)
  }

  /// The contents of a log without the lines of later steps and damaged lines.
  ///
  /// It compares bytes, because one that is not UTF-8 must not hide the lines beside it.
  package struct Repair {
    /// The lines that remain.
    package private(set) var contents = Data()
    /// The last step whose evaluation remains, or 0.
    package private(set) var evaluatedStep = 0
    /// The number of damaged lines.
    package private(set) var damagedLineCount = 0

    private struct Line: Decodable {
      let kind: String?
      let step: Int
    }

    /// Selects the lines of a file's contents, as ``MetricLog/init(_:keepingStepsThrough:evaluationLineCount:)`` says.
    package init(_ data: Data, keepingStepsThrough completedSteps: Int, evaluationLineCount: Int) {
      var lastEvaluation: [Data] = []
      let whole = data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast()
      for line in whole {
        guard String(validating: line, as: UTF8.self) != nil,
          let decoded = try? JSONDecoder().decode(Line.self, from: Data(line))
        else {
          damagedLineCount += 1
          continue
        }
        guard decoded.step <= completedSteps else { continue }
        let bytes = line + [UInt8(ascii: "\n")]
        if decoded.kind == "eval", decoded.step == completedSteps {
          lastEvaluation.append(bytes)
          continue
        }
        if decoded.kind == "eval" { evaluatedStep = max(evaluatedStep, decoded.step) }
        contents += bytes
      }
      // They are the last lines that are kept.
      if !lastEvaluation.isEmpty, lastEvaluation.count >= evaluationLineCount {
        evaluatedStep = completedSteps
        for bytes in lastEvaluation { contents += bytes }
      }
    }
  }
}
