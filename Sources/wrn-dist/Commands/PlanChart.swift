import Charts

/// The chart of `plan --svg`: efficiency over ranks, one line per model.
enum PlanChart {
  /// The predictions of one model: ranks and efficiency, 0 … 1, by ascending ranks.
  struct Prediction {
    /// The model, for example `k = 4`.
    let name: String
    /// Ranks and efficiency of every cluster.
    let points: [(ranks: Int, efficiency: Double)]
  }

  /// Returns the chart of one mode of dividing batches.
  static func chart(_ title: String, _ predictions: [Prediction]) -> Chart {
    let points = predictions.flatMap(\.points)
    return Chart(
      title: title, x: Axis("ranks", logarithmicTicksAt: points.map { Double($0.ranks) }),
      y: Axis("efficiency", covering: points.map(\.efficiency) + [1], includesZero: true, notation: .percent),
      series: predictions.enumerated().map { index, prediction in
        Chart.Series(
          prediction.name, prediction.points.map { ChartPoint(Double($0.ranks), $0.efficiency) },
          style: LineStyle(index: index), hasMarks: true)
      })
  }
}
