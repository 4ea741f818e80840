//! Where the blocks of a disk are, in memory.

/// Where a block is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Block {
    /// Nowhere: it is zero.
    Zero,
    /// In the parent.
    Below,
    /// In the file, from this MiB on.
    Present(u32),
    /// Some sectors are in the file, in a place of the whole block's size from this MiB on; the others are in the parent.
    Partial(u32),
}

/// Where all blocks are.
///
/// A disk of 64 TiB may have 64 Mi blocks, and a file that holds next to nothing may claim that. So blocks are kept in pages, and
/// a page whose blocks are all alike keeps one: memory grows with what the table in the file really says.
pub(super) struct Table {
    pages: Vec<Page>,
    /// For each page the one behind the pages from there on that are all the same. Who reads a few bytes does not wait for a walk
    /// through all of a huge disk.
    ends: Vec<usize>,
    block_count: u64,
}

enum Page {
    Same(Block),
    Each(Box<[Block]>),
}

/// Blocks of a page; only the last one may have fewer.
pub(super) const PAGE: usize = 1024;

impl Table {
    pub(super) fn new() -> Self {
        Self { pages: Vec::new(), ends: Vec::new(), block_count: 0 }
    }

    /// Adds a page of `count` blocks that are all the same.
    pub(super) fn push_same(&mut self, block: Block, count: u64) {
        self.pages.push(Page::Same(block));
        self.block_count += count;
    }

    /// Adds a page.
    pub(super) fn push(&mut self, blocks: Vec<Block>) {
        self.block_count += blocks.len() as u64;
        self.pages.push(match blocks.first() {
            Some(first) if blocks.iter().all(|block| block == first) => Page::Same(*first),
            _ => Page::Each(blocks.into_boxed_slice()),
        });
    }

    /// Where block `number` is. Behind the last one there is nothing.
    pub(super) fn block(&self, number: u64) -> Block {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        match self.pages.get(number / PAGE) {
            None => Block::Zero,
            Some(Page::Same(block)) => *block,
            Some(Page::Each(blocks)) => blocks.get(number % PAGE).copied().unwrap_or(Block::Zero),
        }
    }

    /// The table is complete.
    pub(super) fn finish(mut self) -> Self {
        self.ends = (1..=self.pages.len()).collect();
        for page in (1..self.pages.len()).rev() {
            if let [Page::Same(one), Page::Same(next)] = &self.pages[page - 1..=page]
                && one == next
            {
                self.ends[page - 1] = self.ends[page];
            }
        }
        self
    }

    /// How many blocks from `number` on are zero, or are the parent's, as that one is.
    pub(super) fn run(&self, number: u64) -> u64 {
        let block = self.block(number);
        let mut end = number;
        while end < self.block_count && self.block(end) == block {
            end = self.end_of_same(end).unwrap_or(end + 1);
        }
        end.min(self.block_count) - number
    }

    /// The block behind all pages that are the same as that of block `number`; `None` where its page holds several kinds.
    fn end_of_same(&self, number: u64) -> Option<u64> {
        let page = usize::try_from(number).unwrap_or(usize::MAX) / PAGE;
        match self.pages.get(page)? {
            Page::Same(_) => self.ends.get(page).map(|end| (end * PAGE) as u64),
            Page::Each(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_go_over_pages_and_end_where_blocks_differ() {
        let page = PAGE as u64;
        let mut table = Table::new();
        table.push_same(Block::Zero, page);
        table.push(vec![Block::Zero; PAGE]);
        let mut mixed = vec![Block::Zero; PAGE];
        mixed[5] = Block::Present(7);
        table.push(mixed);
        table.push(vec![Block::Below; 3]);
        let table = table.finish();
        assert_eq!([table.run(0), table.run(page), table.run(2 * page + 1)], [2 * page + 5, page + 5, 4]);
        assert_eq!(table.run(2 * page + 6), page - 6);
        assert_eq!([table.run(3 * page), table.run(3 * page + 2)], [3, 1]);
        assert_eq!(table.block(2 * page + 5), Block::Present(7));
        assert_eq!(table.block(u64::MAX), Block::Zero);
    }
}
