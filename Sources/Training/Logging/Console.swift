/// A destination of a run's report lines: a terminal, a log file, a test.
public protocol Console: AnyObject {
  /// Writes a line.
  func write(_ line: String)
  /// Whether lines can be replaced: true for a terminal, false for a file.
  var isLive: Bool { get }
  /// Shows a line that the next one replaces; only if ``isLive``.
  func showLive(_ line: String)
  /// The columns of the terminal at this moment; only if ``isLive``.
  var columns: Int { get }
  /// The characters of progress bars.
  var bar: ProgressLine.Bar { get }
  /// Reports an event; by default its lines.
  func report(_ event: RunEvent)
  /// The seconds between reports of progress as an event; `nil` for none.
  var progressInterval: Double? { get }
}

extension Console {
  /// 80 columns.
  public var columns: Int { 80 }
  /// Bars of ASCII.
  public var bar: ProgressLine.Bar { .ascii }
  /// No reports of progress.
  public var progressInterval: Double? { nil }
  /// Writes the event's lines.
  public func report(_ event: RunEvent) { event.lines.forEach(write) }
}

/// Files that a run writes on request.
public struct ExtraOutputs: Sendable {
  /// Whether `metrics.csv` is written beside `metrics.jsonl`.
  public var metricTable = false
  /// A file of gauges for Prometheus's node exporter.
  ///
  /// If `nil`, none is written.
  public var prometheusTextfile: String?

  /// Requests no file.
  public init() {}
}
