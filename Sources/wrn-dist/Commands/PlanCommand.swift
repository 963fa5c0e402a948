import ArgumentParser
import Charts
import Clusters
import Foundation
import Models
import OpenMPI
import Support
import Training

/// Predicts the speed of a run on a cluster from measurements of this machine.
struct PlanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "plan",
    abstract: "Predicts step time, speed, efficiency and memory on more hosts.",
    discussion: """
      Measures this machine for a few seconds, or reads results of `benchmark step --json`, and adds the cost of the \
      network: reduce-scatter and all-gather of the gradient, overlapped with the backward pass, and the all-reduces of \
      synchronized batch norm. Prints two tables per model, with the global batch fixed and with the batch per rank fixed. \
      docs/distributed.md has the formulas.
      """)

  @Option(help: "Numbers of hosts: a list such as 1,2,6, or 1…1024 for powers of two.") var hosts = "1…1024"
  @Option(help: "Physical cores per host. (default: the cores of this host)") var coresPerHost: Int?
  @Option(help: "Ranks per host.") var ranksPerHost = 1
  @Option(help: "Data that a host can send per second, such as 10Gb.") var bandwidth = "10Gb"
  @Option(help: "Time of an empty message between two hosts, such as 20us.") var latency = "20us"
  @Option(help: "Read lines of `benchmark step --json` from this file instead of measuring.") var from: String?
  @Option(help: "\(HelpText.architecture)") var architecture = WideResNetConfiguration.Architecture.trax
  @Option(help: "\(HelpText.depth)") var depth = 22
  @Option(help: "Widen factors k, separated by commas.") var widenFactor = "1,4,10"
  @Option(help: "Images per step over all ranks, for the first table.") var batchSize = 64
  @Option(help: "Images per step and rank, for the second table. (default: --batch-size)")
  var rankBatchSize: Int?
  @Option(help: "\(HelpText.batchNorm)")
  var batchNorm = BatchNormalizationScope.global
  @Option(help: "Also write a chart of efficiency over ranks to this SVG file.") var svg: String?

  func run() throws {
    let request = try Request(self)
    let measurements = try from.map(StepMeasurement.read) ?? measure(request)
    var predictions: [[PlanChart.Prediction]] = [[], []]
    for factor in request.widenFactors {
      let network = try WideResNetConfiguration(architecture: architecture, depth: depth, widenFactor: factor).graph()
      let cost = ModelCost(network, widenFactor: factor)
      guard let measured = StepMeasurement.nearest(to: cost, in: measurements) else {
        throw UsageError(
          "--from \(from ?? "") has no line of `wrn-dist benchmark step --json`; write one with `--json >>FILE`.")
      }
      let seconds = measured.coreSecondsPerImage * Double(cost.multiplyAdds) / Double(measured.multiplyAdds)
      let model = StepModel(cost, coreSecondsPerImage: seconds, synchronizesBatchNorm: batchNorm == .global)
      print(PlanTable.heading(model, measured))
      for (i, mode) in [PlanTable.Mode.globalBatch(batchSize), .rankBatch(rankBatchSize ?? batchSize)].enumerated() {
        let table = PlanTable(model, clusters: request.clusters, mode)
        print(table.text)
        predictions[i].append(PlanChart.Prediction(name: "k = \(factor)", points: table.points))
      }
    }
    print(PlanTable.footnote)
    if let svg { try draw(predictions, request, to: svg) }
  }

  private func draw(_ predictions: [[PlanChart.Prediction]], _ request: Request, to path: String) throws {
    let titles = ["Global batch of \(batchSize) images", "\(rankBatchSize ?? batchSize) images per rank"]
    let ranks = "\(ranksPerHost) rank\(ranksPerHost == 1 ? "" : "s")"
    let figure = ChartFigure(
      title: "Predicted efficiency of data parallelism, WRN-\(depth)-k",
      subtitle:
        "\(ranks) per host, \(request.coresPerHost) cores each, \(bandwidth)/s, \(latency), batch norm \(batchNorm.rawValue); "
        + "compute time measured on \(HostInfo.cpuModel)",
      charts: zip(titles, predictions).map(PlanChart.chart))
    try OutputFile.replace(path, with: figure.svg)
    print("chart written to \(path)")
  }

  /// Runs `benchmark step` on this machine with a few images of every model.
  private func measure(_ request: Request) throws -> [StepMeasurement] {
    let cores = CPUAffinity.current().usableCores.count
    return try request.widenFactors.map { factor in
      // Work for about a second per step and core; microbatches of several images, as in a real step.
      let images = factor > 6 ? 4 : 8
      return try StepMeasurement.run([
        "--architecture", architecture.rawValue, "--depth", "\(depth)", "--widen-factor", "\(factor)", "--batch-size",
        "\(images * cores)",
        "--microbatches", "\(cores)", "--threads", "\(cores)", "--steps", factor > 6 ? "2" : "5",
      ])
    }
  }

  /// The validated flags.
  struct Request {
    let clusters: [Cluster]
    let widenFactors: [Int]
    let coresPerHost: Int

    init(_ options: PlanCommand) throws {
      guard let hosts = Quantity.counts(options.hosts) else {
        throw UsageError("--hosts \(options.hosts) is not a list of numbers; write 1,2,6 or 1…1024.")
      }
      guard let bandwidth = Quantity.bytesPerSecond(options.bandwidth) else {
        throw UsageError("--bandwidth \(options.bandwidth) is not a data rate; write 10Gb (bits) or 1.25GB (bytes).")
      }
      guard let latency = Quantity.seconds(options.latency) else {
        throw UsageError("--latency \(options.latency) is not a time; write 20us or 0.1ms.")
      }
      let factors = options.widenFactor.split(separator: ",", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
      guard !factors.contains(where: { $0 < 1 }) else {
        throw UsageError("--widen-factor \(options.widenFactor) must be positive numbers, such as 1,4,10.")
      }
      let counts = [
        ("cores-per-host", options.coresPerHost ?? 1), ("ranks-per-host", options.ranksPerHost),
        ("batch-size", options.batchSize), ("rank-batch-size", options.rankBatchSize ?? 1),
      ]
      for (name, value) in counts where !(1...1_000_000).contains(value) {
        throw UsageError("--\(name) \(value) must lie between 1 and 1000000.")
      }
      let cores = options.coresPerHost ?? CPUAffinity.current().onlineCoreCount
      guard options.ranksPerHost <= cores else {
        throw UsageError(
          "--ranks-per-host \(options.ranksPerHost) is more than --cores-per-host \(cores); give each rank a core.")
      }
      widenFactors = factors
      coresPerHost = cores
      clusters = hosts.map {
        Cluster(
          hostCount: $0, ranksPerHost: options.ranksPerHost, coresPerHost: cores, bytesPerSecond: bandwidth,
          latency: latency)
      }
    }
  }
}

/// A table of predictions for one model.
struct PlanTable {
  /// The batch size that all rows share.
  enum Mode {
    /// B; more hosts make each step shorter and do not affect the result.
    case globalBatch(Int)
    /// B / ranks; more hosts make each step larger.
    case rankBatch(Int)
  }

  /// Ranks and efficiency of every row.
  let points: [(ranks: Int, efficiency: Double)]
  /// The table.
  let text: String

  /// Predicts every cluster.
  init(_ model: StepModel, clusters: [Cluster], _ mode: Mode) {
    var rows = [
      [
        "hosts", "ranks", "batch", "step ms", "compute", "statistics", "exposed", "img/s", "efficiency", "bucket",
        "memory",
      ]
    ]
    var points: [(ranks: Int, efficiency: Double)] = []
    for cluster in clusters {
      let batch: Int
      let oneHostBatch: Int
      switch mode {
      case .globalBatch(let size): (batch, oneHostBatch) = (size, size)
      case .rankBatch(let size): (batch, oneHostBatch) = (size * cluster.rankCount, size * cluster.ranksPerHost)
      }
      guard let prediction = model.predict(cluster, globalBatchSize: batch) else {
        rows.append(["\(cluster.hostCount)", "\(cluster.rankCount)", "\(batch)", "more ranks than images"])
        continue
      }
      let efficiency = model.efficiency(prediction, againstOneHostWith: oneHostBatch)
      points.append((cluster.rankCount, efficiency))
      rows.append([
        "\(cluster.hostCount)", "\(cluster.rankCount)", "\(batch)", Self.milliseconds(prediction.step),
        Self.milliseconds(prediction.compute),
        Self.milliseconds(prediction.statistics), Self.milliseconds(prediction.exposed),
        String(format: "%.0f", prediction.imagesPerSecond),
        String(format: "%.1f %%", 100 * efficiency),
        cluster.hostCount == 1 ? "-" : Self.bytes(prediction.bucketByteCount),
        Self.bytes(prediction.memoryByteCount),
      ])
    }
    self.points = points
    let title =
      switch mode {
      case .globalBatch(let size): "global batch fixed at \(size) images:"
      case .rankBatch(let size): "batch per rank fixed at \(size) images:"
      }
    text = ([title] + Self.align(rows)).joined(separator: "\n") + "\n"
  }

  /// The lines above the tables of a model.
  static func heading(_ model: StepModel, _ measured: StepMeasurement) -> String {
    let cost = model.model
    let count = String(format: "%.2f", Double(cost.parameterCount) / 1e6)
    let time = String(format: "%.2f", 1e3 * model.coreSecondsPerImage)
    let source =
      measured.modelName == cost.name ? "measured" : "scaled by its multiply-adds from"
    return """
      \(cost.name): \(count) M parameters, a gradient of \(bytes(cost.gradientByteCount)), \(time) ms per image and core
      (\(source) \(measured.description))
      """
  }

  /// The meaning of the columns.
  static let footnote = """
    step = compute + statistics (waits for batch norm) + exposed (gradient all-reduce after the backward pass)
    efficiency: img/s relative to one host's times the hosts; bucket: the best size; memory: approximate, per rank
    """

  private static func milliseconds(_ seconds: Double) -> String { String(format: "%.2f", 1e3 * seconds) }

  private static func bytes(_ count: Int) -> String {
    count < 1 << 20
      ? String(format: "%.0f KiB", Double(count) / 1024) : String(format: "%.1f MiB", Double(count) / Double(1 << 20))
  }

  /// Right-aligns columns; a shorter row ends with text that no column limits.
  private static func align(_ rows: [[String]]) -> [String] {
    let width = rows[0].indices.map { column in
      rows.filter { $0.count == rows[0].count || column < 3 }.map { $0[column].count }.max() ?? 0
    }
    return rows.map { row in
      row.enumerated().map { column, text in
        let isRemark = row.count < rows[0].count && column == row.count - 1
        return isRemark ? text : text.rightAligned(width[column])
      }.joined(separator: "  ")
    }
  }
}
