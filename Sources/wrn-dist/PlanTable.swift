import Clusters
import Foundation

/// A table of predictions for one network.
struct PlanTable {
  /// What stays the same from row to row.
  enum Mode {
    /// B: more hosts make each step shorter, and the result is that of one.
    case globalBatch(Int)
    /// B / ranks: more hosts make each step larger.
    case rankBatch(Int)
  }

  /// Ranks and efficiency of every row.
  let points: [(ranks: Int, efficiency: Double)]
  /// The table.
  let text: String

  /// Predicts every cluster.
  init(_ model: StepModel, clusters: [ClusterDescription], _ mode: Mode) {
    var rows = [
      [
        "hosts", "ranks", "batch", "step ms", "compute", "statistics", "exposed", "img/s", "efficiency", "bucket",
        "memory",
      ]
    ]
    var points: [(ranks: Int, efficiency: Double)] = []
    for cluster in clusters {
      let batch: Int
      let batchOfOne: Int
      switch mode {
      case .globalBatch(let size): (batch, batchOfOne) = (size, size)
      case .rankBatch(let size): (batch, batchOfOne) = (size * cluster.rankCount, size * cluster.ranksPerHost)
      }
      guard let found = model.predict(cluster, globalBatchSize: batch) else {
        rows.append(["\(cluster.hostCount)", "\(cluster.rankCount)", "\(batch)", "more ranks than images"])
        continue
      }
      let efficiency = model.efficiency(found, againstOneHostWith: batchOfOne)
      points.append((cluster.rankCount, efficiency))
      rows.append([
        "\(cluster.hostCount)", "\(cluster.rankCount)", "\(batch)", Self.milliseconds(found.step),
        Self.milliseconds(found.compute),
        Self.milliseconds(found.statistics), Self.milliseconds(found.exposed),
        String(format: "%.0f", found.imagesPerSecond),
        String(format: "%.1f %%", 100 * efficiency), cluster.hostCount == 1 ? "-" : Self.bytes(found.bucketByteCount),
        Self.bytes(found.memoryByteCount),
      ])
    }
    self.points = points
    let title =
      switch mode {
      case .globalBatch(let size): "global batch fixed at \(size) images:"
      case .rankBatch(let size): "batch of each rank fixed at \(size) images:"
      }
    text = ([title] + Self.align(rows)).joined(separator: "\n") + "\n"
  }

  /// What stands above the tables of a network.
  static func heading(_ model: StepModel, _ measured: ComputeMeasurement) -> String {
    let network = model.network
    let count = String(format: "%.2f", Double(network.parameterCount) / 1e6)
    let time = String(format: "%.2f", 1e3 * model.coreSecondsPerImage)
    let source =
      measured.network == network.name ? "measured" : "scaled by its multiply-adds from"
    return """
      \(network.name): \(count) M parameters, a gradient of \(bytes(network.gradientByteCount)), \(time) ms an image and core
      (\(source) \(measured.description))
      """
  }

  /// What the columns mean.
  static let footnote = """
    step = compute + statistics (waiting for batch norm) + exposed (what backward does not hide of the gradient's exchange)
    efficiency: img/s against those of one host times the hosts; bucket: the best size; memory: of one rank, about
    """

  private static func milliseconds(_ seconds: Double) -> String { String(format: "%.2f", 1e3 * seconds) }

  private static func bytes(_ count: Int) -> String {
    count < 1 << 20
      ? String(format: "%.0f KiB", Double(count) / 1024) : String(format: "%.1f MiB", Double(count) / Double(1 << 20))
  }

  /// Right-aligns columns; a row that is shorter ends with words.
  private static func align(_ rows: [[String]]) -> [String] {
    let width = rows[0].indices.map { column in
      rows.filter { $0.count == rows[0].count || column < 3 }.map { $0[column].count }.max() ?? 0
    }
    return rows.map { row in
      row.enumerated().map { column, text in
        let isWords = row.count < rows[0].count && column == row.count - 1
        return isWords ? text : String(repeating: " ", count: max(0, width[column] - text.count)) + text
      }.joined(separator: "  ")
    }
  }
}
