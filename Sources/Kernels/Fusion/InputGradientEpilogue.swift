import Tensors

// The fused epilogue of the backward pass: one sweep over the rows of dZ that a GEMM or transform has just written.

/// Returns whether the input gradient is dZ itself, so that a convolution may write dZ to its destination.
func isPlain(_ target: ConvolutionInputGradient, _ input: ConvolutionInput) -> Bool {
  target.sums == nil && target.addend == nil && input.dropout == nil
}

/// The rows of dZ that a GEMM or transform has written.
struct InputGradientProduct {
  /// The first row.
  let start: UnsafePointer<Float>
  /// The floats from one row to the next; 0 if all rows are the same.
  let rowStride: Int
}

/// Writes rows of the input gradient, d·dZ (+ addend), or 0 where scale·x + shift <= 0 with Σg' and Σg'·(x − mean).
///
/// The mean is subtracted inside the sum, so nothing cancels.
///
/// - Parameters:
///   - target: The gradient, its addend, its means and its sums. If there are no sums, nothing is masked.
///   - input: x, the map from x to z, and the dropout mask.
///   - product: dZ.
///   - offset: The index of the first row's first element in the tensors.
///   - rowStep: The rows of the tensors from one row to the next.
///   - rows: The number of rows.
///   - width: W.
///   - channels: C.
func applyInputGradientEpilogue(
  _ target: ConvolutionInputGradient, input: ConvolutionInput, product: InputGradientProduct,
  offset: Int, rowStep: Int = 1, rows: Int, width: Int, channels: Int
) {
  let (gradient, x) = (target.gradient + offset, input.activation + offset)
  let (addend, dropout) = (target.addend.map { $0 + offset }, input.dropout?.advanced(by: offset))
  let rowCount = width * channels
  let rowStride = rowStep * rowCount
  guard let map = input.normalization, let mean = target.mean, let totals = target.sums else {
    let isDense = rowStride == rowCount && product.rowStride == rowCount
    for row in 0..<(isDense ? 1 : rows) {
      let i = row * rowStride
      addContribution(
        to: gradient + i, product: product.start + row * product.rowStride, addend: addend.map { $0 + i },
        dropout: dropout?.advanced(by: i), count: isDense ? rows * rowCount : rowCount)
    }
    return
  }
  guard ChannelBlock.covers(channels: channels) else {
    for row in 0..<rows {
      for j in 0..<rowCount {
        let (i, c) = (row * rowStride + j, j % channels)
        let isMasked = map.shift[c].addingProduct(map.scale[c], x[i]) <= 0
        let dZ = product.start[row * product.rowStride + j]
        let masked = isMasked ? 0 : contribution(dZ, addend: addend, dropout: dropout, i)
        gradient[i] = masked
        totals[c] += Double(masked)
        totals[channels + c] += Double(masked) * (Double(x[i]) - Double(mean[c]))
      }
    }
    return
  }
  forEachChannelBlock(channels: channels, imageWidth: width) { block in
    let epilogue = MaskedGradientEpilogue(
      gradient: gradient, x: x, product: product, scale: block.coefficients(map.scale),
      shift: block.coefficients(map.shift), means: block.coefficients(mean), rows: rows, rowStride: rowStride,
      channels: channels, block: block, totals: totals)
    // One loop for each set of operands: no pixel tests for those that are `nil`.
    switch (addend, dropout) {
    case (nil, nil): epilogue.apply(addend: nil, dropout: nil)
    case (let addend?, nil): epilogue.apply(addend: addend, dropout: nil)
    case (nil, let dropout?): epilogue.apply(addend: nil, dropout: dropout)
    case (let addend?, let dropout?): epilogue.apply(addend: addend, dropout: dropout)
    }
  }
}

/// The masked form of ``applyInputGradientEpilogue(_:input:product:offset:rowStep:rows:width:channels:)`` for one block of
/// channels.
private struct MaskedGradientEpilogue {
  let gradient: UnsafeMutablePointer<Float>
  let x: UnsafePointer<Float>
  let product: InputGradientProduct
  let scale: VectorX4
  let shift: VectorX4
  let means: VectorX4
  let rows: Int
  let rowStride: Int
  let channels: Int
  let block: ChannelBlock
  let totals: UnsafeMutablePointer<Double>

  @inline(__always)
  func apply(addend: UnsafePointer<Float>?, dropout: DropoutMask?) {
    let (gradient, x, product, rowStride) = (gradient, x, product, rowStride)
    let (scale, shift, means) = (scale, shift, means)
    let (offsets, step, steps) = (block.offsets, block.pixelBlockStride, block.pixelBlocksPerRow)
    var (sums, products) = (VectorX4(), VectorX4())
    for row in 0..<rows {
      var i = row &* rowStride
      // Of the row such that index i of x is index i of dZ.
      let product = product.start + row &* (product.rowStride &- rowStride)
      for _ in 0..<steps {
        let value = VectorX4(x + i, offsets)
        var dZ = VectorX4(product + i, offsets)
        if let dropout { dZ = dZ.dropped(by: dropout, i, offsets) }
        if let addend { dZ = dZ + VectorX4(addend + i, offsets) }
        let masked = dZ.masked(by: shift.addingProduct(scale, value))
        masked.store(gradient + i, offsets)
        sums = sums + masked
        products = products.addingProduct(masked, value - means)
        i &+= step
      }
      if (row + 1).isMultiple(of: block.rowsPerFlush) || row == rows - 1 {
        block.add(sums, to: totals)
        block.add(products, to: totals + channels)
        (sums, products) = (VectorX4(), VectorX4())
      }
    }
  }
}

/// Writes d·dZ (+ addend) of `count` consecutive elements.
private func addContribution(
  to gradient: UnsafeMutablePointer<Float>, product: UnsafePointer<Float>, addend: UnsafePointer<Float>?,
  dropout: DropoutMask?, count: Int
) {
  @inline(__always) func apply(_ addend: UnsafePointer<Float>?, _ dropout: DropoutMask?) {
    var i = 0
    while i &+ 16 <= count {
      var value = (product + i).vector
      if let dropout { value = value.dropped(by: dropout, word: i &>> 4) }
      if let addend { value += (addend + i).vector }
      (gradient + i).store(value)
      i &+= 16
    }
    while i < count {
      gradient[i] = contribution(product[i], addend: addend, dropout: dropout, i)
      i &+= 1
    }
  }
  switch (addend, dropout) {
  case (nil, nil): if gradient != product { gradient.update(from: product, count: count) }
  case (let addend?, nil): apply(addend, nil)
  case (nil, let dropout?): apply(nil, dropout)
  case (let addend?, let dropout?): apply(addend, dropout)
  }
}

/// Returns d·dZ (+ addend) of element `i`.
@inline(__always)
private func contribution(_ dZ: Float, addend: UnsafePointer<Float>?, dropout: DropoutMask?, _ i: Int) -> Float {
  var value = dZ
  if let dropout { value = dropout.applied(to: value, i) }
  if let addend { value += addend[i] }
  return value
}
