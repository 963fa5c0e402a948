import Tensors

/// Packs a kernel for the products of the direct convolution on the way forward.
///
/// - Parameters:
///   - plan: The convolution.
///   - weight: `RSCK`.
///   - target: ``DirectPlan/forwardKernelCount`` floats.
func packKernel(
  _ plan: DirectPlan, _ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>
) {
  let g = plan.geometry
  if plan.filters != g.outputChannels {
    target.update(repeating: 0, count: plan.forwardKernelCount)
  }
  let panel = MatrixProduct.panelWidth(columns: plan.filters)
  for row in 0..<plan.depth {
    for k in 0..<g.outputChannels {
      target[(k / panel) &* plan.depth &* panel &+ row &* panel &+ k % panel] =
        weight[row &* g.outputChannels &+ k]
    }
  }
}

/// Packs a kernel for the products of the way back, phase by phase.
///
/// - Parameters:
///   - plan: The convolution.
///   - weight: `RSCK`.
///   - target: ``DirectPlan/backwardKernelCount`` floats.
func packTurnedKernel(
  _ plan: DirectPlan, _ weight: UnsafePointer<Float>, into target: UnsafeMutablePointer<Float>
) {
  let g = plan.geometry
  if plan.filters != g.outputChannels || plan.channels != g.inputChannels {
    target.update(repeating: 0, count: plan.backwardKernelCount)
  }
  plan.forEachPhase { phaseRow, phaseColumn, offset in
    let (rows, columns) = (plan.taps(phaseRow), plan.taps(phaseColumn))
    for i in 0..<rows {
      for j in 0..<columns {
        // The last tap first: it joins the earliest output position.
        let r = phaseRow + (rows - 1 - i) * g.stride
        let s = phaseColumn + (columns - 1 - j) * g.stride
        turn(
          weight + (r * g.kernelSize + s) * g.inputChannels * g.outputChannels, plan,
          into: target + offset, firstRow: (i * columns + j) * plan.filters,
          depth: rows * columns * plan.filters)
      }
    }
  }
}

/// Writes one tap's `[C, K]` as rows `[K, C]` of a packed matrix.
private func turn(
  _ tap: UnsafePointer<Float>, _ plan: DirectPlan, into target: UnsafeMutablePointer<Float>,
  firstRow: Int, depth: Int
) {
  let (channels, filters) = (plan.geometry.inputChannels, plan.geometry.outputChannels)
  let panel = MatrixProduct.panelWidth(columns: plan.channels)
  for c in 0..<channels {
    let column = target + ((c / panel) * depth * panel + firstRow * panel + c % panel)
    for k in 0..<filters { column[k &* panel] = tap[c &* filters &+ k] }
  }
}
