import Foundation

/// The contents of a run's `metrics.jsonl`, as far as they can be read.
package struct MetricsFile {
  /// One training step.
  package struct Step {
    /// The number of the step.
    package var step = 0
    /// The mean loss over the batch; NaN where the file has `null`.
    package var loss = Float.nan
    /// The learning rate.
    package var learningRate = Float.nan
    /// The global batch size divided by the duration of the step.
    package var imagesPerSecond = Float.nan
    /// The seconds of the step without waiting for other ranks.
    package var computeSeconds = Float.nan
    /// The seconds that rank 0 waited for other ranks.
    package var communicationSeconds = Float.nan
    /// The seconds that rank 0 waited for images.
    package var dataSeconds = Float.nan
  }

  /// One evaluation.
  package struct Evaluation: Hashable {
    /// The last step of the weights.
    package var step = 0
    /// The mean cross entropy; NaN where the file has `null`.
    package var loss = Double.nan
    /// The fraction of correct images, 0 … 1.
    package var accuracy = Double.nan
    /// The same with mirror images, if they were evaluated.
    package var mirroredAccuracy: Double?
    /// The number of images.
    package var exampleCount: Int?
    /// Whether the images are held-out training images; if not, test images.
    package var isHeldOut = false
    /// Whether the weights are averaged ones.
    package var isAverage = false
  }

  /// The steps, ascending.
  package private(set) var steps: [Step] = []
  /// The evaluations, by ascending steps.
  package private(set) var evaluations: [Evaluation] = []
  /// The number of lines that are not JSON objects of this file's kinds.
  package private(set) var damagedLineCount = 0
  /// Whether the last line has no end, as that of a run that is writing.
  package private(set) var hasPartialLine = false

  /// Reads a file; one that is missing is empty.
  package init(_ path: String) {
    self.init((try? Data(contentsOf: URL(fileURLWithPath: path), options: .mappedIfSafe)) ?? Data())
  }

  /// Reads the contents of a file.
  ///
  /// A step that occurs again, as after a resume of an older program, replaces the earlier lines from it on.
  package init(_ data: Data) {
    data.withUnsafeBytes { bytes in
      guard let base = bytes.baseAddress else { return }
      var start = 0
      steps.reserveCapacity(bytes.count / 200)
      while start < bytes.count {
        guard let newline = memchr(base + start, 10, bytes.count - start) else {
          hasPartialLine = true
          break
        }
        let end = UnsafeRawPointer(newline) - base
        if end > start { add(UnsafeRawBufferPointer(rebasing: bytes[start..<end])) }
        start = end + 1
      }
    }
    evaluations = Self.lastPerStep(evaluations)
  }

  /// The last of several evaluations of the same step, images and weights; ascending.
  private static func lastPerStep(_ evaluations: [Evaluation]) -> [Evaluation] {
    var last: [[Int]: Int] = [:]
    for (i, evaluation) in evaluations.enumerated() {
      last[[evaluation.step, evaluation.isHeldOut ? 1 : 0, evaluation.isAverage ? 1 : 0]] = i
    }
    return last.values.sorted().map { evaluations[$0] }.sorted { $0.step < $1.step }
  }

  private mutating func add(_ line: UnsafeRawBufferPointer) {
    if let step = MetricLineParser.trainingStep(line) { return add(step) }
    guard let object = (try? JSONSerialization.jsonObject(with: Data(line))) as? [String: Any],
      let value = (object["step"] as? NSNumber)?.doubleValue, (0...0x1p40).contains(value), value == value.rounded()
    else {
      damagedLineCount += 1
      return
    }
    let number = Int(value)
    func float(_ key: String) -> Float { (object[key] as? NSNumber)?.floatValue ?? .nan }
    switch object["kind"] as? String {
    case "train":
      add(
        Step(
          step: number, loss: float("loss"), learningRate: float("learning_rate"),
          imagesPerSecond: float("images_per_second"), computeSeconds: float("compute_seconds"),
          communicationSeconds: float("communication_seconds"), dataSeconds: float("data_seconds")))
    case "eval":
      let evaluation = Evaluation(
        step: number, loss: (object["loss"] as? NSNumber)?.doubleValue ?? .nan,
        accuracy: (object["accuracy"] as? NSNumber)?.doubleValue ?? .nan,
        mirroredAccuracy: (object["mirrored_accuracy"] as? NSNumber)?.doubleValue,
        exampleCount: (object["examples"] as? NSNumber)?.intValue,
        isHeldOut: object["images"] as? String == "validation", isAverage: object["weights"] as? String == "average")
      evaluations.append(evaluation)
    default: damagedLineCount += 1
    }
  }

  private mutating func add(_ step: Step) {
    while let last = steps.last, last.step >= step.step { steps.removeLast() }
    steps.append(step)
  }
}

/// A parser of the lines that this program writes for steps; ten times as fast as Foundation's for any JSON.
enum MetricLineParser {
  /// Parses `{"kind":"train","step":…}` with plain keys and numbers.
  ///
  /// - Parameter line: The line without its end, which must follow it in memory.
  /// - Returns: The step; `nil` if the line has another form, which may still be JSON.
  static func trainingStep(_ line: UnsafeRawBufferPointer) -> MetricsFile.Step? {
    let prefix: StaticString = #"{"kind":"train","#
    guard line.count > prefix.utf8CodeUnitCount, let base = line.baseAddress,
      memcmp(base, prefix.utf8Start, prefix.utf8CodeUnitCount) == 0, line.last == UInt8(ascii: "}")
    else { return nil }
    var step = MetricsFile.Step()
    var hasNumber = false
    var position = prefix.utf8CodeUnitCount
    while position < line.count {
      guard line[position] == UInt8(ascii: "\""),
        let quote = memchr(base + position + 1, 34, line.count - position - 1)
      else { return nil }
      let end = UnsafeRawPointer(quote) - base
      guard end + 1 < line.count, line[end + 1] == UInt8(ascii: ":"),
        let (value, next) = number(line, from: end + 2)
      else { return nil }
      let key = UnsafeRawBufferPointer(rebasing: line[position + 1..<end])
      if matches(key, "step") {
        guard value >= 0, value < 0x1p40, value == value.rounded() else { return nil }
        step.step = Int(value)
        hasNumber = true
      } else if matches(key, "loss") {
        step.loss = Float(value)
      } else if matches(key, "learning_rate") {
        step.learningRate = Float(value)
      } else if matches(key, "images_per_second") {
        step.imagesPerSecond = Float(value)
      } else if matches(key, "compute_seconds") {
        step.computeSeconds = Float(value)
      } else if matches(key, "communication_seconds") {
        step.communicationSeconds = Float(value)
      } else if matches(key, "data_seconds") {
        step.dataSeconds = Float(value)
      }
      if next == line.count - 1 { return hasNumber ? step : nil }
      guard line[next] == UInt8(ascii: ",") else { return nil }
      position = next + 1
    }
    return nil
  }

  private static func matches(_ key: UnsafeRawBufferPointer, _ name: StaticString) -> Bool {
    key.count == name.utf8CodeUnitCount
      && key.elementsEqual(UnsafeRawBufferPointer(start: name.utf8Start, count: key.count))
  }

  /// Parses a JSON number or `null`, which is NaN; returns it and the position of the byte after it.
  private static func number(_ line: UnsafeRawBufferPointer, from start: Int) -> (Double, Int)? {
    guard start < line.count, let base = line.baseAddress else { return nil }
    if line[start] == UInt8(ascii: "n") {
      guard start + 4 < line.count, memcmp(base + start, "null", 4) == 0 else { return nil }
      return (.nan, start + 4)
    }
    guard line[start] == UInt8(ascii: "-") || (48...57).contains(line[start]) else { return nil }
    // strtod also reads hexadecimal numbers, which JSON lacks.
    let digits = line[start] == UInt8(ascii: "-") ? start + 1 : start
    guard digits + 1 < line.count, line[digits + 1] | 0x20 != UInt8(ascii: "x") else { return nil }
    // strtod stops at the comma or brace after the number; the line's end follows in memory.
    var end: UnsafeMutablePointer<CChar>?
    let value = strtod((base + start).assumingMemoryBound(to: CChar.self), &end)
    guard let end else { return nil }
    let next = UnsafeRawPointer(end) - base
    return next > start && next < line.count && value.isFinite ? (value, next) : nil
  }
}
