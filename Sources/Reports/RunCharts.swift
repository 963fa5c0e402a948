import Charts

/// The lines of a report's charts: training loss, evaluation loss, accuracy, speed, and the parts of a step.
struct RunCharts {
  /// A quantity that the report shows over steps, epochs or time.
  enum Quantity: String, CaseIterable {
    case trainingLoss, evaluationLoss, accuracy, imagesPerSecond

    /// The heading of its chart.
    var title: String {
      switch self {
      case .trainingLoss: "Training loss"
      case .evaluationLoss: "Evaluation loss"
      case .accuracy: "Accuracy"
      case .imagesPerSecond: "Speed"
      }
    }

    /// The label of its axis.
    var label: String {
      switch self {
      case .trainingLoss, .evaluationLoss: "cross entropy (nats)"
      case .accuracy: "accuracy"
      case .imagesPerSecond: "images per second"
      }
    }
  }

  /// A line over the steps of one run.
  struct Line {
    /// The run's index.
    let run: Int
    /// What follows the run's name, such as `held-out`; empty for test images and raw weights.
    let variant: String
    /// Steps and values, thinned.
    let points: [ChartPoint]
    /// The color and dash pattern.
    let style: LineStyle
    /// Whether the line shows single steps in the background of their mean.
    let isPale: Bool
    /// Whether every point is a measurement to mark.
    let hasMarks: Bool
  }

  /// The runs.
  let runs: [ReportedRun]
  /// The columns that single steps are thinned to.
  let columnCount: Int
  /// The columns of means.
  let meanCount: Int

  /// Chooses the resolution by the number of runs, so that a page of 100 runs stays below 10 MB.
  init(_ runs: [ReportedRun]) {
    self.runs = runs
    columnCount = min(max(4000 / max(runs.count, 1), 150), 1000)
    meanCount = min(max(1200 / max(runs.count, 1), 120), 300)
  }

  /// The style of a run's line.
  func style(_ run: Int) -> LineStyle { LineStyle(index: run) }

  /// The lines of a quantity, pale ones first.
  func lines(_ quantity: Quantity) -> [Line] {
    switch quantity {
    case .trainingLoss: stepLines(\.loss)
    case .imagesPerSecond: stepLines(\.imagesPerSecond)
    case .evaluationLoss: evaluationLines(\.loss)
    case .accuracy: evaluationLines(\.accuracy)
    }
  }

  /// The lines of the parts of a step of one run, in milliseconds: compute, communication, waiting for data.
  func stepParts(_ run: Int) -> [(name: String, line: Line)] {
    let parts: [(String, KeyPath<MetricsFile.Step, Float>)] = [
      ("compute", \.computeSeconds), ("communication", \.communicationSeconds), ("waiting for data", \.dataSeconds),
    ]
    return parts.enumerated().compactMap { index, part in
      let points = runs[run].metrics.steps.map { ChartPoint(Double($0.step), 1000 * Double($0[keyPath: part.1])) }
      let means = Thinning.means(points, columnCount: meanCount / 2)
      guard !means.isEmpty else { return nil }
      return (
        part.0,
        Line(run: run, variant: "", points: means, style: LineStyle(index: index), isPale: false, hasMarks: false)
      )
    }
  }

  /// The chart of lines over steps.
  ///
  /// - Parameters:
  ///   - quantity: The quantity.
  ///   - lines: Its lines.
  ///   - drawnColumns: The columns to which a printed chart thins them further.
  /// - Returns: The chart.
  func chart(_ quantity: Quantity, _ lines: [Line], drawnColumns: Int = 500) -> Chart {
    Chart(
      title: quantity.title, x: Self.stepAxis(lines),
      y: Axis(
        quantity.label, covering: lines.lazy.flatMap { $0.points.lazy.map(\.y) },
        includesZero: quantity == .imagesPerSecond, notation: quantity == .accuracy ? .percent : .number),
      series: lines.map { line in
        Chart.Series(
          runs[line.run].name + (line.variant.isEmpty ? "" : " (\(line.variant))"),
          Thinning.extremes(line.points, columnCount: drawnColumns), style: line.style, hasMarks: line.hasMarks,
          isPale: line.isPale)
      })
  }

  /// The chart of the parts of a step.
  func stepPartChart(_ parts: [(name: String, line: Line)]) -> Chart {
    Chart(
      title: "Time per step", x: Self.stepAxis(parts.map(\.line)),
      y: Axis(
        "milliseconds per step", covering: parts.lazy.flatMap { $0.line.points.lazy.map(\.y) }, includesZero: true),
      series: parts.map { Chart.Series($0.name, $0.line.points, style: $0.line.style) })
  }

  private static func stepAxis(_ lines: [Line]) -> Axis {
    Axis("steps", covering: lines.flatMap { [$0.points.first?.x, $0.points.last?.x].compactMap { $0 } }, isTight: true)
  }

  private func stepLines(_ value: KeyPath<MetricsFile.Step, Float>) -> [Line] {
    var (pale, means): ([Line], [Line]) = ([], [])
    for (run, values) in runs.enumerated() {
      // One run at a time: 100 runs of 100,000 steps would take 160 MB more.
      let points = values.metrics.steps.map { ChartPoint(Double($0.step), Double($0[keyPath: value])) }
      // A mean over fewer than three steps would only repeat them.
      let hasMeans = points.count >= 60
      func line(_ points: [ChartPoint], isPale: Bool) -> [Line] {
        guard !points.isEmpty else { return [] }
        return [Line(run: run, variant: "", points: points, style: style(run), isPale: isPale, hasMarks: false)]
      }
      pale += line(Thinning.extremes(points, columnCount: columnCount), isPale: hasMeans)
      guard hasMeans else { continue }
      means += line(Thinning.means(points, columnCount: min(meanCount, points.count / 20)), isPale: false)
    }
    return pale + means
  }

  private func evaluationLines(_ value: KeyPath<MetricsFile.Evaluation, Double>) -> [Line] {
    let variants = [
      (false, false, ""), (true, false, "held-out"), (false, true, "averaged"), (true, true, "held-out, averaged"),
    ]
    return runs.indices.flatMap { run in
      variants.enumerated().compactMap { index, variant -> Line? in
        let points = runs[run].evaluations(heldOut: variant.0, average: variant.1)
          .map { ChartPoint(Double($0.step), $0[keyPath: value]) }
        let thinned = Thinning.extremes(points, columnCount: columnCount)
        guard !thinned.isEmpty else { return nil }
        let style = index == 0 ? style(run) : LineStyle(color: style(run).color, dash: index)
        return Line(
          run: run, variant: variant.2, points: thinned, style: style, isPale: false, hasMarks: thinned.count <= 60)
      }
    }
  }
}
